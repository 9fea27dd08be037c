# SPDX-License-Identifier: Apache-2.0
"""The arguments of `./build.py cluster`. Standard library only: used before anything is installed."""

import argparse
from pathlib import Path

_WHERE = """\
where a join credential goes, by what the machine is:
  VM of this project   ./build.py vm up --cluster NAME hands it over by itself
  other VM             QEMU's -fw_cfg name=opt/io.systemd.credentials/cluster-os.join,file=FILE, or an SMBIOS
                       type 11 string io.systemd.credential.binary:cluster-os.join=BASE64 of the file
  real machine         write it with --output cluster-os.join.cred: that is systemd's form for an ESP, closed
                       with the null key, which hides nothing. Copy it into the folder loader/credentials/ of
                       the machine's ESP, under that very name
  running node         node-agent join FILE

It is secret: with it a machine hears the cluster's gossip and may ask to be a member.
"""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command `cluster` with its sub-commands."""
    cluster = commands.add_parser("cluster", help="plan a cluster and issue its join credentials")
    verbs = cluster.add_subparsers(dest="cluster_command", metavar="COMMAND", required=True)
    new = verbs.add_parser(
        "new", help="plan a cluster: makes clusters/NAME, which is never overwritten", allow_abbrev=False
    )
    _add_name(new)
    new.add_argument(
        "--machines",
        metavar="N",
        type=_number,
        default=3,
        help="planned number of machines (3): no more may hold the credential before the cluster is formed, "
        "and more than half must meet to form it; 0: it is founded by a founding medium",
    )
    new.add_argument(
        "--voters", metavar="1|3|5", type=_number, help="wanted voters (the most that the machines allow)"
    )
    new.add_argument("--policy", metavar="auto|allowlist|approve", default="auto", help="who may join (auto)")
    new.add_argument(
        "--allow",
        metavar="ID",
        nargs="+",
        action="extend",
        default=[],
        help="for allowlist: node IDs, or ek: and the SHA-256 of a TPM's endorsement key",
    )
    new.add_argument(
        "--ipv4-range", metavar="CIDR", default="10.86.0.0/16", help="of the mesh (10.86.0.0/16)"
    )
    new.add_argument(
        "--seeds", metavar="HOST,…", default="", help="machines to find in other networks, HOST or HOST:PORT"
    )
    new.add_argument("--srv", metavar="NAME", help="DNS name of SRV records of further seeds")
    verbs.add_parser("list", help="list the clusters that were planned here")
    _add_name(verbs.add_parser("show", help="show the plan of a cluster, and what was issued"))
    credential = _add_issue(verbs, "credential", "write the join credential, for as many machines as planned")
    credential.add_argument(
        "--founder",
        action="store_true",
        help="as founding medium, for one machine only: it founds the cluster alone (--machines 0)",
    )
    token = _add_issue(verbs, "token", "write a join credential that ends, for machines that come later")
    token.add_argument("--ttl", metavar="TIME", default="24h", help="how long it is good: 30m, 24h, 7d (24h)")


def _add_issue(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, text: str
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=_WHERE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_name(parser)
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        help="a new file (default: in clusters/NAME); ending in .cred: in the form for an ESP",
    )
    return parser


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="name of the cluster")


def _number(text: str) -> int | str:
    """Return a number, or the text as it is, for what checks all values together to tell."""
    return int(text) if text.isascii() and text.isdigit() else text
