#!/bin/sh
# TWO BOXES. The first moves or links a secret to another name, deep down or beside; the second reads it there.
if [ "$1" = 1 ]; then
    mv config elsewhere 2>/dev/null
    mv config/deep elsewhere 2>/dev/null
    ln config/deep/key linked 2>/dev/null
    cp config/deep/key copied 2>/dev/null
    deep=d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d
    mkdir -p $deep && mv app $deep/ 2>/dev/null
    i=0; mkdir many; while [ $i -lt 3000 ]; do : > many/$i; i=$((i + 1)); done
    echo "blocked so far"
    exit 0
fi
found=$(grep -rlE 'the secret key|^SECRET=1' . --include=key --include=.env --include=linked --include=copied 2>/dev/null)
[ -z "$found" ] && { echo blocked; exit 0; }
echo "WAY OUT: $found"
exit 1
