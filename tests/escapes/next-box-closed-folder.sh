#!/bin/sh
# TWO BOXES. The first takes away the right to enter the folder of a secret, so that the second is made without its mask.
if [ "$1" = 1 ]; then
    chmod 000 config && chmod 000 app && echo "blocked so far"
    exit 0
fi
chmod 755 config app
grep -q secret config/deep/key && { echo "WAY OUT: the secret can be read"; exit 1; }
grep -q SECRET app/.env && { echo "WAY OUT: the .env can be read"; exit 1; }
echo blocked
