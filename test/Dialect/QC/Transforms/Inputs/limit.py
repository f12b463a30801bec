"""limit.py BYTES COMMAND...: run COMMAND with a limit on the size of files that
it writes; succeed if it fails without a signal."""

import resource
import signal
import subprocess
import sys

# Ignored signals stay ignored in the child: write() then fails with EFBIG.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
result = subprocess.run(sys.argv[2:], check=False, restore_signals=False)
sys.exit(0 if result.returncode == 1 else 1)
