#!/bin/sh
# TWO BOXES. The first leaves links at guarded names that are not there; the second replaces them by the real thing.
if [ "$1" = 1 ]; then
    ln -s nothing .envrc && ln -s config .claude && echo "blocked so far"
    exit 0
fi
rm -f .envrc .claude && mkdir .claude && echo evil > .envrc && { echo "WAY OUT: a guarded name holds what the agent wrote, and nobody was told"; exit 1; }
echo blocked
