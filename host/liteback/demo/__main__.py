"""`python -m liteback.demo [FOLDER]`: run the demo and leave its files and its report in FOLDER."""

import sys
from pathlib import Path

from liteback.cli.shared import load_tensorflow

load_tensorflow()

from liteback.demo.digits import main  # noqa: E402  TensorFlow's greetings are silenced above

main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-out"))
