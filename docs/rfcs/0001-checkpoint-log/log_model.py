#!/usr/bin/env python3
"""Exhaustive check of the checkpoint log in a small world.

Two processes run one job. Each claims it (seals the last attempt, starts its own), settles what the attempt before
owned, owns epochs and publishes them to Kafka, one transaction with a marker for each epoch. At every step

* either process may crash and start again, knowing nothing;
* a create may get no answer and land later, or never, also after its sender has crashed;
* the answer of a commit may get lost, and the commit may land later, or never.

All states that this world can reach are visited, breadth first. In each of them what a read_committed reader sees must
be without repeat, in order, without gap, and made of epochs that are on the job's one chain of checkpoints.

Usage:  log_model.py [mutation [attempts]]

    (none), or ""  the rules as they are: visits the whole world, or stops at STATE_BOUND states
    noseal         an attempt is started without sealing the one before
    nofence        Kafka takes the commit of a producer that was fenced
    nomarker       what is to be published is published, whatever the marker says
    retry_blind    after a lost answer the rows are sent again without a look at the marker
    publish_first  rows are published whether or not the epoch could be owned
    assume_ok      a create without an answer counts as done

A mutation must end in a VIOLATION with the shortest way to it (exit code 1). `attempts`: how many attempts the log may
have, 3 if not given.
"""
import sys
from collections import deque

MUTATION = sys.argv[1] if len(sys.argv) > 1 else ""
MUTATIONS = ("", "noseal", "nofence", "nomarker", "retry_blind", "publish_first", "assume_ok")
MAX_ATTEMPTS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
MAX_EPOCH = 2
MAX_IN_FLIGHT = 2
MAX_FENCE = 5
STATE_BOUND = 6_000_000

# A state is (store, kafka, in_flight, processes).
#
# store      tuple over attempts of tuples of records:
#              (STARTED, epoch, content, author)   epoch and content of the checkpoint it goes on from; epoch 0 = none
#              (COMPLETED, epoch, content, author)
#              (SEALED, author)
#            `content` stands for what an epoch's rows are: (attempt, process) that made them.
# kafka      (fence, marker, published): the producer epoch that may commit, the newest published epoch,
#            and what a read_committed reader sees, in order: ((epoch, content), …)
# in_flight  frozenset of requests that were sent and not answered: (CREATE, attempt, seq, record),
#            (COMMIT, fence, epoch, content)
# processes  tuple of (step, what the process remembers …)
STARTED, COMPLETED, SEALED = "A", "C", "S"
CREATE, COMMIT = "create", "commit"

READ_LOG = ("read log",)
START = ((), (0, 0, ()), frozenset(), (READ_LOG, READ_LOG))


def create(store, attempt, seq, record):
    """A conditional create. Returns the store after it, and whether the record at that place is this one.

    Reading back is part of it: a record that is there already, with the same author, counts as ours.
    `(None, False)`: it would leave a gap, which no process tries."""
    logs = [list(log) for log in store]
    if attempt < len(logs):
        if seq < len(logs[attempt]):
            return store, logs[attempt][seq] == record
        if seq > len(logs[attempt]):
            return None, False
        logs[attempt].append(record)
    elif attempt == len(logs) and seq == 0:
        logs.append([record])
    else:
        return None, False
    return tuple(tuple(log) for log in logs), True


def newest_checkpoint(log):
    """(epoch, content) that an attempt ends with: its last checkpoint, or else the one it started from."""
    epoch, content = log[0][1], log[0][2]
    for record in log[1:]:
        if record[0] == COMPLETED:
            epoch, content = record[1], record[2]
    return epoch, content


def successors(state):
    """Every state that one step of anybody leads to."""
    found = land_late_requests(state)
    for process in range(len(state[3])):
        found += process_steps(state, process)
    return found


def land_late_requests(state):
    store, kafka, in_flight, processes = state
    fence, _, published = kafka
    found = []
    for request in sorted(in_flight, key=repr):
        rest = in_flight - {request}
        if request[0] == CREATE:
            after, _ = create(store, *request[1:])
            found.append((store if after is None else after, kafka, rest, processes))
        else:
            _, sent_with, epoch, content = request
            if sent_with == fence or MUTATION == "nofence":
                kafka_after = (fence, epoch, published + ((epoch, content),))
                found.append((store, kafka_after, rest, processes))
            else:
                found.append((store, kafka, rest, processes))
    return found


def process_steps(state, process):
    store, kafka, in_flight, processes = state
    fence, marker, published = kafka
    me = processes[process]
    found = []

    def go(step, store=store, kafka=kafka, in_flight=in_flight):
        others = processes[:process] + (step,) + processes[process + 1:]
        found.append((store, kafka, in_flight, others))

    if me != READ_LOG:
        go(READ_LOG)  # a crash
    step = me[0]

    if step == "read log":
        if not store:
            go(("start attempt", 0, 0, None))
        else:
            newest = len(store) - 1
            log = store[newest]
            epoch, content = newest_checkpoint(log)
            if log[-1][0] == SEALED or MUTATION == "noseal":
                if newest + 1 < MAX_ATTEMPTS:
                    go(("start attempt", newest + 1, epoch, content))
            else:
                go(("seal", newest, len(log)))

    elif step == "seal":
        _, attempt, seq = me
        record = (SEALED, process)
        after, _ = create(store, attempt, seq, record)
        go(READ_LOG, store=after)  # whoever took the place: read again
        go(READ_LOG, in_flight=in_flight | {(CREATE, attempt, seq, record)})

    elif step == "start attempt":
        _, attempt, epoch, content = me
        record = (STARTED, epoch, content, process)
        after, ours = create(store, attempt, 0, record)
        if ours and after != store:
            go(("settle", attempt, 1, epoch, content), store=after)
        elif after == store:
            go(READ_LOG)  # somebody else's, or our own from an earlier life: start over
        go(READ_LOG, in_flight=in_flight | {(CREATE, attempt, 0, record)})

    elif step == "settle":
        _, attempt, seq, epoch, content = me
        go(("run" if epoch == 0 else "init transactions", attempt, seq, epoch, content))

    elif step == "init transactions":  # fences whoever used the transactional id
        _, attempt, seq, epoch, content = me
        go(("read marker", attempt, seq, epoch, content, fence + 1), kafka=(fence + 1, marker, published))

    elif step == "read marker":
        _, attempt, seq, epoch, content, mine = me
        if marker >= epoch and MUTATION != "nomarker":
            go(("run", attempt, seq, epoch, content))
        else:
            go(("commit", attempt, seq, epoch, content, mine))

    elif step == "commit":
        _, attempt, seq, epoch, content, mine = me
        if mine == fence or MUTATION == "nofence":
            go(("run", attempt, seq, epoch, content), kafka=(fence, epoch, published + ((epoch, content),)))
        if mine != fence:
            go(READ_LOG)  # fenced: never go on
        after_no_answer = "send blindly" if MUTATION == "retry_blind" else "init transactions"
        go((after_no_answer, attempt, seq, epoch, content), in_flight=in_flight | {(COMMIT, mine, epoch, content)})

    elif step == "send blindly":
        _, attempt, seq, epoch, content = me
        go(("run", attempt, seq, epoch, content), kafka=(fence + 1, epoch, published + ((epoch, content),)))

    elif step == "run":
        _, attempt, seq, epoch, content = me
        if epoch < MAX_EPOCH:
            go(("own", attempt, seq, epoch + 1, (attempt, process)))

    elif step == "own":
        _, attempt, seq, epoch, content = me
        record = (COMPLETED, epoch, content, (attempt, process))
        publish = ("init transactions", attempt, seq + 1, epoch, content)
        no_answer = in_flight | {(CREATE, attempt, seq, record)}
        after, ours = create(store, attempt, seq, record)
        if MUTATION == "publish_first":
            go(publish, store=after or store)
        if after is None:
            go(READ_LOG)
        else:
            if ours:
                go(publish, store=after)
            else:
                go(READ_LOG)  # sealed: somebody else owns the job
            go(me, in_flight=no_answer)  # the same create once more
            if MUTATION == "assume_ok":
                go(publish, in_flight=no_answer)

    return found


def chain(store):
    """The content of each epoch on the job's one chain: what later attempts went on from."""
    contents = {}
    for log in store:
        went_on_from = log[0][1]
        contents = {epoch: content for epoch, content in contents.items() if epoch <= went_on_from}
        for record in log[1:]:
            if record[0] == COMPLETED:
                contents[record[1]] = record[2]
    return contents


def violation(state):
    """What is wrong with what a reader sees; None if nothing is."""
    store, (_, _, published), _, _ = state
    epochs = [epoch for epoch, _ in published]
    if epochs != sorted(set(epochs)):
        return f"published twice or out of order: {published}"
    if epochs != list(range(1, len(epochs) + 1)):
        return f"gap: {published}"
    on_chain = chain(store)
    for epoch, content in published:
        if on_chain.get(epoch) != content:
            return f"published {(epoch, content)} is not on the chain {on_chain}"
    return None


def within_bounds(state):
    _, (fence, _, _), in_flight, _ = state
    return len(in_flight) <= MAX_IN_FLIGHT and fence <= MAX_FENCE


def explore():
    came_from = {START: None}
    queue = deque([START])
    visited = 0
    while queue:
        state = queue.popleft()
        visited += 1
        wrong = violation(state)
        if wrong:
            way = []
            while state is not None:
                way.append(state)
                state = came_from[state]
            print(f"VIOLATION after {visited} states, {len(way)} steps: {wrong}")
            for place in reversed(way):
                print("  ", place)
            return 1
        for after in successors(state):
            if within_bounds(after) and after not in came_from:
                came_from[after] = state
                queue.append(after)
        if visited % 500_000 == 0:
            print(f"{visited} states visited, {len(queue)} waiting", flush=True)
        if visited > STATE_BOUND:
            print("bound reached, no violation")
            return 0
    published = sum(1 for state in came_from if len(state[1][2]) == MAX_EPOCH)
    print(f"{visited} states, no violation; {published} with every epoch published")
    return 0


if __name__ == "__main__":
    if MUTATION not in MUTATIONS:
        sys.exit(f"there is no mutation {MUTATION!r}; accepted are {', '.join(MUTATIONS[1:])}")
    sys.exit(explore())
