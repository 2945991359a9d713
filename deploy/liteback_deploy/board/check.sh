# check.sh ID: does the agent of a version folder run here? On a spare port, beside the one that serves.
exec "$agent/$1/python" -m liteback_agent.check
