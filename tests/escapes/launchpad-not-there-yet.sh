#!/bin/sh
# Makes what would later run outside, where nothing was before: an .envrc, and a commondir that gives git another config.
r=0
{ echo evil > .envrc; } 2>/dev/null && r=1
{ echo ../evil > .git/commondir; } 2>/dev/null && r=1
mkdir -p .claude 2>/dev/null && r=1
[ $r = 1 ] && echo "WAY OUT: they are there now (the end of the run names them)" || echo blocked
rm -rf .envrc .git/commondir .claude
exit $r
