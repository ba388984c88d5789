"""A pool of machines of one's own, reached over SSH."""

from godwit.providers.kinds import Kind

KIND = Kind(
    "SSH hosts",
    "godwit.providers.ssh_hosts.provider:SshHostsProvider",
    options={
        "hosts": "user@host:port[=usd_per_hour],... such as ada@gpu-1:22=2.5,ada@10.0.0.7; required",
        "known_hosts": "a known_hosts file with every host's key; left out: a key is recorded when it is first seen",
        "python": "the Python on the hosts that has godwit's agent (default python3)",
        "via": "user@host:port of a jump host with the same key, where the hosts cannot be reached directly",
        "timeout_s": "seconds that a call to a host may take (default 15)",
    },
    # The pace is sshd's, by its own drops (MaxStartups); they are told apart and waited for.
    extra="ssh",
    secrets={"private_key": "a private key without a passphrase, in one line: base64 -w0 ~/.ssh/id_ed25519"},
)
