#!/bin/sh
# Keeps one server for one test process: `sh keeper.sh FOLDER COMMAND [ARGUMENT…]`.
#
# Prints the server's pid, then for each signal name read from standard input sends that signal and
# prints its name. Ends with the server, with its status. The input ends when the test process
# does, however it ends: then the server is killed and its FOLDER removed.
folder=$1
shift
exec 3<&0
"$@" </dev/null >>"$folder/server.log" 2>&1 3<&- &
server=$!
echo "$server"

# The only reader of our input. It outlives a closed standard output.
{
    trap '' PIPE
    while read -r signal; do
        kill -s "$signal" "$server" 2>/dev/null
        echo "$signal"
    done
    : >"$folder/orphaned"
    kill -s KILL "$server"
} <&3 2>/dev/null &
reader=$!

exec 3<&- >&-
wait "$server"
status=$?
if [ -e "$folder/orphaned" ]; then
    rm -rf "$folder"
else
    kill -s KILL "$reader" 2>/dev/null
fi
exit "$status"
