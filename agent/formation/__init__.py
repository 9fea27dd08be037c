# SPDX-License-Identifier: Apache-2.0
"""Forming: how machines that know of no cluster make exactly one. Pure, but for the randomness of new keys.

It is single-decree Paxos (L. Lamport, "Paxos Made Simple", 2001) among the machines that hold the
credential, over the value "the genesis". A quorum is more than half of the PLANNED number of machines, so
that two quorums share a machine however the network is split; no time limit makes a smaller number do.

    ballot     the number of an attempt, and who makes it
    acceptor   what a node has promised and accepted; on its disk before any answer leaves
    proposer   one attempt: promises, the value, the signatures under it
    plan       whose turn it is to attempt; only how soon forming ends depends on it
    genesis    the value
    record     the value with the signatures of a quorum: what proves it to whoever comes later
    messages   what nodes say to each other
    candidate  a node that forms, and its answers to those who propose
    pursue     its own attempt
    forming    all of that as one machine without input or output: where to begin to read
"""
