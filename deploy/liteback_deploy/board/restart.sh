# restart.sh KIND
set -eu
restart_agent "$1" && answers
