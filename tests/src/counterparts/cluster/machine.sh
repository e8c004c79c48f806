# shellcheck shell=sh
# Keeps one machine of a cluster for one test process: `sh machine.sh FOLDER CGROUP [INIT]`.
#
# A machine is a first process, INIT, with a process, a mount and a network namespace of its own. When
# it ends, the kernel ends all that runs in it and takes back its mounts, and a minute later, when the
# last connection has timed out, its network. The rest is done here: its links to the outside (their
# names are in the file `links`) and the CGROUP of its pods are removed.
#
# Prints the pid of the first process, then for each signal name read from standard input sends that
# signal and prints its name. Ends with the machine, with its status. The input ends when the test
# process does, however it ends: then the machine is ended and its FOLDER removed.
#
# Without INIT, clears away what is left of a machine whose keeper was killed.
folder=$1 cgroup=$2 init=$3

# Cgroups are one tree, or in version 1 a tree for each controller.
trees() {
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        echo /sys/fs/cgroup
    else
        printf '%s\n' /sys/fs/cgroup/*
    fi
}

make_cgroups() {
    for tree in $(trees); do
        mkdir -p "$tree/$cgroup"
        # In version 1, a new one has no processor until it is given some.
        for set in cpuset.cpus cpuset.mems; do
            [ ! -e "$tree/$set" ] || cat "$tree/$set" >"$tree/$cgroup/$set"
        done
    done
}

remove_links() {
    while read -r link; do
        ip link del "$link"
    done <links
}

remove_cgroups() {
    for tree in $(trees); do
        [ ! -d "$tree/$cgroup" ] || find "$tree/$cgroup" -depth -type d -exec rmdir {} +
    done
}

# Ends the first process, and with it all others: it is a zombie once they are gone. Its number may be
# somebody else's by now, who would not stand in our folder.
end() {
    read -r first <init || return
    [ "$(readlink "/proc/$first/cwd")" = "$folder" ] || return
    kill -s KILL "$first"
    while read -r _ _ state _ <"/proc/$first/stat" && [ "$state" != Z ]; do
        sleep 0.02
    done
}

remove_folder() {
    # A keeper and the next cluster may be at it together, and one find what the other has just removed.
    for _ in 1 2 3 4 5; do
        rm -rf "$folder" && break
        sleep 0.1
    done
    rmdir "${folder%/*}" # by the last machine of a cluster
}

if ! cd "$folder"; then
    [ ! -e "$folder" ]
    exit
fi 2>/dev/null
if [ -z "$init" ]; then
    end
    remove_links
    remove_cgroups
    remove_folder
    [ ! -e "$folder" ]
    exit
fi 2>/dev/null

# Runs as the first process, which the last line makes INIT.
# shellcheck disable=SC2016 # it is for another shell to expand
boot='
read -r pid _ </proc/self/stat # as others number it: this is still the proc outside
echo "$pid" >init
mount -t proc proc /proc
for place in /run /var/lib /var/log; do
    mount -t tmpfs -o mode=755 machine "$place"
done
# The kubelet sets these, and they are of the whole kernel: let it set copies.
for setting in kernel/keys/root_maxbytes kernel/keys/root_maxkeys kernel/panic kernel/panic_on_oops \
    vm/overcommit_memory vm/panic_on_oom; do
    copy=/run/sysctl/$setting
    mkdir -p "${copy%/*}"
    cat "/proc/sys/$setting" >"$copy"
    mount --bind "$copy" "/proc/sys/$setting"
done
echo "$pid"
exec "$0" >/dev/null
'

exec 2>>server.log
rm -f init booted
mkfifo booted
make_cgroups
exec 3<&0
# Not to our output: of that we must be the last holder, so that our death is the end of it.
unshare --fork --kill-child --pid --mount --net sh -ec "$boot" "$init" </dev/null 3<&- >booted &
machine=$!

# The only reader of our input. It outlives a closed standard output.
{
    trap '' PIPE
    while read -r signal; do
        read -r first <init
        kill -s "$signal" "$first"
        echo "$signal"
    done
    : >orphaned
    end || kill -s KILL "$machine"
} <&3 2>/dev/null &
reader=$!

read -r first <booted && echo "$first"
exec 3<&- >&-
wait "$machine"
status=$?
{
    remove_links
    remove_cgroups
    if [ -e orphaned ]; then
        remove_folder
    else
        kill -s KILL "$reader"
    fi
} 2>/dev/null
exit "$status"
