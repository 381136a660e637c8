#!/bin/sh
# The box's own agentbox: rules for itself, with and without the session's name, finds the ledger and the policy, starts a box in the box.
r=0
[ -x "$AGENTBOX" ] || { echo "agentbox is not seen in the box"; exit 2; }
for path in "$AGENTBOX" "$BYPASS_HOME/.bashrc" "$BYPASS_LOGDIR" "$BYPASS_HOME/../policy.toml" "$BYPASS_HOME/../config/agentbox" /etc/passwd /run/agentbox/ca.pem; do
    [ -e "$path" ] || continue
    { if [ -d "$path" ]; then true > "$path/x"; else true >> "$path"; fi; } 2>/dev/null && { echo "WAY OUT: $path can be written"; r=1; }
done
for session in "$AGENTBOX_SESSION" ""; do
    if [ -n "$session" ]; then export AGENTBOX_SESSION=$session; else unset AGENTBOX_SESSION; fi
    for folder in "$(dirname "$(dirname "$BYPASS_APPROVE_SOCK")")" "/run/user/$(id -u)" /tmp; do
        export XDG_RUNTIME_DIR=$folder
        for what in "holds --json" "approve 1" "deny 1" "log" "log --verify" "policy trust"; do
            said=$("$AGENTBOX" $what </dev/null 2>&1) && case "$what$said" in
                "holds --json") ;;
                log*) case $said in *'"'*|*GET*|*origin*) echo "WAY OUT: $what shows the ledger: $said"; r=1 ;; esac ;;
                *) echo "WAY OUT: $what: $said"; r=1 ;;
            esac
        done
    done
done
"$AGENTBOX" run -- true >/dev/null 2>&1 && { echo "WAY OUT: a box in the box"; r=1; }
[ $r = 0 ] && echo blocked
exit $r
