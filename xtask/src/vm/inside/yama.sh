# Boxes without namespaces where Yama lets nobody but a process's ancestors read it (`ptrace_scope` 1, as Ubuntu has it): root's, and an
# ordinary user's. Where the kernel's Landlock is too old for such a box it must be refused, with the reason.
scope=/proc/sys/kernel/yama/ptrace_scope most=/proc/sys/user/max_user_namespaces
[ -e $scope ] || { echo "this kernel has no Yama"; exit 1; }
before=$(cat $scope) namespaces=$(cat $most)
trap 'echo "$before" > $scope; echo "$namespaces" > $most' EXIT
echo 1 > $scope
echo 0 > $most

as() {
    case $1 in
        root) shift; "$@" ;;
        *) shift; HOME=/home/agent XDG_RUNTIME_DIR=/run/user/1000 setpriv --reuid 1000 --regid 1000 --clear-groups --inh-caps=-all -- "$@" ;;
    esac
}

# That it does what it is here for: a sibling is not read.
as ordinary sh -c 'sleep 60 & python3 -c "
import sys
try:
    open(f\"/proc/{sys.argv[1]}/mem\").close()
except PermissionError:
    sys.exit(0)
sys.exit(1)
" $!; code=$?; kill $!; exit $code' || { echo "a sibling was read"; exit 1; }

work='set -e
echo one > f; cat f; mv f g; rm g; mkdir d; rmdir d
# One whose parent is gone.
(setsid sh -c "sleep 0.5; echo late > late" >/dev/null 2>&1 &)
python3 -c "
import socket, threading
server = socket.create_server((\"127.0.0.1\", 0))
threading.Thread(target=lambda: server.accept()[0].sendall(b\"own\"), daemon=True).start()
print(socket.create_connection(server.getsockname()).recv(9).decode())
"
for turn in $(seq 100); do [ -s late ] && break; sleep 0.1; done
cat late; echo done'
for who in root ordinary; do
    folder=/root/yama
    [ $who = root ] || folder=/home/agent/yama
    as $who mkdir -p $folder
    cd $folder || exit 1
    said=$(as $who agentbox run -- sh -c "$work" 2>err) code=$?
    cat err
    echo "$who: $said"
    case $(uname -r) in
        6.1.*)
            # Landlock's ABI is 2 there, and it takes 6.
            [ $code = 125 ] && grep -q 'user-namespace' err || { echo "it was to be refused, with the reason: $code"; exit 1; }
            echo "SKIPPED: Landlock of this kernel is too old for a box without namespaces"
            ;;
        *)
            [ $code = 0 ] && [ "$said" = "one
own
late
done" ] || { echo "it was to work: $code"; exit 1; }
            ;;
    esac
done
