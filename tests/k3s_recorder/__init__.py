# SPDX-License-Identifier: Apache-2.0
"""A recorder in the place of k3s: given to a build by `--asset k3s=FILE` (pack.py). It runs no pods.

It reads what k3s would read and refuses what k3s would refuse, as far as its documentation says: keys that
are none, missing tokens, a long token for the first server, a machine without a default route, a second
cluster-init beside a database. Servers and agents meet over the network as those of k3s do, at port 6443 of
the server that the configuration names, and are let in by their token; so a server that runs has the
cluster's identifier, which the one that began it made up. What it saw is in FOLDER, and `k3s kubectl delete`
is written down there.

Whom a server knows by a file of tokens (kube-apiserver's token-auth-file) may keep objects in a namespace, as
far as a role of the manifests allows it, by the paths that Kubernetes has for them: made, read, listed,
watched, applied and deleted, and no more than that. A pod is Pending for ever.

Nothing but what is in the image. Where a key or a rule comes from: docs.k3s.io (cli/server, cli/agent,
cli/token, datastore/ha-embedded, installation/configuration) and the API reference of Kubernetes.
"""
