"""The command `noisy-xmodal`, outside of the package: Ctrl-C ends its import by a line as well."""

import json
import signal
import sys


def main() -> None:
    """Import the commands and run the one that was typed.

    Raises:
        SystemExit: With its exit code.
    """
    try:
        from noisy_xmodal.cli import app
    except KeyboardInterrupt:
        line = "Stopped by SIGINT."
        if "--json" in sys.argv:
            print(json.dumps({"error": line}, indent=2), flush=True)
        print(line, file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    app()
