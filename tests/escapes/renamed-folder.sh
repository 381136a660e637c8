#!/bin/sh
# Renames the folder above a guarded path, and puts another in its stead; or exchanges the two.
r=0
for folder in .git config config/deep app .vscode; do
    if mv "$folder" "moved-away" 2>/dev/null && [ ! -e "$folder" ]; then
        echo "WAY OUT: $folder was renamed"; r=1
        mv moved-away "$folder"
    fi
    mkdir -p stand-in
    python3 - "$folder" <<'END' || { echo "WAY OUT: $folder was exchanged"; r=1; }
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
# RENAME_EXCHANGE
if libc.renameat2(-100, b"stand-in", -100, os.fsencode(sys.argv[1]), 2) == 0:
    sys.exit(1)
END
done
for path in .git/config .git/hooks .git/hooks/pre-commit .vscode/tasks.json config/deep/key app/.env; do
    rm -rf "$path" 2>/dev/null
    [ -e "$path" ] || { echo "WAY OUT: $path was removed"; r=1; }
    mv -f stand-in "$path" 2>/dev/null && [ ! -d stand-in ] && { echo "WAY OUT: $path was replaced"; r=1; mkdir -p stand-in; }
    ln -f "$path" linked 2>/dev/null && { echo "WAY OUT: $path has a second name"; r=1; rm -f linked; }
    { echo x >> "$path"; } 2>/dev/null && { echo "WAY OUT: $path was written"; r=1; }
done
[ $r = 0 ] && echo blocked
exit $r
