# What a fresh machine runs to become a node, under cloud-init, in a container or over SSH: it finds or installs the
# agent, keeps it running, and when it gives up tells the control plane the last lines of what it and the agent said.
# Any POSIX sh. Sent without its comments and indents, below the lines that bootstrap.py puts first.
exec </dev/null 3>&2
pythons='python3 python3.13 python3.12 python3.11'
# Short, since sockets lie below it, and the same when a container starts again.
dir=${HOME:-/tmp}/.godwit-node
[ ! -w /var/lib ] || dir=/var/lib/godwit
dir=${GODWIT_NODE_DIR:-$dir}
address=$GODWIT_NODE_ADDRESS
export GODWIT_NODE_DIR="$dir" GODWIT_NODE_ADDRESS
# Named by what is in it: another version does not take it for its own.
venv=${GODWIT_AGENT_DIR:-$dir}/$venv

say() { echo "godwit: $*"; }

# COMMAND: runs it, silent unless it fails; $why is then the last thing that it said.
try() {
  out=$("$@" 2>&1) && return
  printf '%s\n' "$out"
  why=$(printf '%s\n' "$out" | tail -n 1 | cut -c 1-500)
  return 1
}

has_agent() { try "$python" -c 'import godwit.agents.main, ray'; }
has_pip() { "$python" -m pip --version >/dev/null 2>&1; }

# A Python that the image names is taken at its word: should it have no agent, its first start will show.
find_agent() {
  python=$GODWIT_PYTHON
  [ "$python" ] && return
  for python in "$venv/bin/python" $pythons; do
    has_agent >/dev/null && return
  done
  return 1
}

# What the image has beside (PyTorch, say) stays visible. Debian's venv may lack pip, and use the system's instead.
make_venv() {
  python=$venv/bin/python
  has_pip && return
  for base in "$GODWIT_PYTHON" $pythons; do
    "$base" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
    for without in '' --without-pip; do
      "$base" -m venv --system-site-packages $without "$venv" >/dev/null && has_pip && return
    done
  done
  return 1
}

# Ubuntu 22.04 has Python 3.11 among its updates, beside its own 3.10. A machine that boots may still be busy with packages of its own.
by_apt() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  for name in python3-venv python3.12-venv python3.11-venv; do
    apt-get install -qqy -o DPkg::Lock::Timeout=120 $name >/dev/null && make_venv && return
  done
  return 1
}

install() {
  say "no Python here has the agent: installing $package"
  # Those of other versions, or half made.
  rm -rf "${venv%-*}"-*
  for pause in 5 20 0; do
    why='no Python 3.11 or later has venv and pip: install python3-venv or set GODWIT_PYTHON'
    # -I: also what the image has already, since Ray must be whole in one place.
    make_venv || by_apt && try "$python" -m pip install -qqI "$package" && has_agent && unset GODWIT_PYTHON && return
    sleep $pause
  done
  why="cannot install $package: $why"
  return 1
}

# The address from where this machine would talk to the world (RFC 5737), unless the image names one; nothing is sent.
find_address() {
  "$python" -c 'import socket as s; s = s.socket(s.AF_INET, s.SOCK_DGRAM); s.connect(("192.0.2.1", 9)); print(s.getsockname()[0])' || echo 127.0.0.1
}

main() {
  try mkdir -p "$dir" && { find_agent || install; } || return
  deaths=0
  # For longer than the agent before, which keeps this one out, may take to leave.
  while [ $deaths -lt 40 ]; do
    began=$(date +%s)
    GODWIT_NODE_ADDRESS=${address:-$(find_address 2>/dev/null)} "$python" -m godwit.agents && return
    deaths=$((deaths + 1))
    [ $(($(date +%s) - began)) -lt 60 ] || deaths=1
    # Not at once: an agent that was killed should be back before it is missed.
    [ $deaths != 2 ] || has_agent || install || return
    sleep 1
  done
  why="the agent died $deaths times, each within a minute"
  return 1
}

by_curl() { printf 'header = "%s"\n' "$bearer" | curl -fsm 10 -o /dev/null -K - --data-raw "$lines" "$url"; }
by_wget() {
  # It reads no settings from a pipe.
  (umask 077 && printf 'header = %s\n' "$bearer" >"$dir/wgetrc") &&
    WGETRC=$dir/wgetrc wget -qT 10 -t 1 -O /dev/null --post-data "$lines" "$url"
}
by_python() {
  for python in "$GODWIT_PYTHON" $pythons; do
    printf '%s\n' "$lines" | bearer=$bearer "$python" -c 'import os, sys, urllib.request as u; u.urlopen(u.Request(sys.argv[1], sys.stdin.buffer.read(), dict([os.environ["bearer"].split(": ")])), timeout=10)' "$url" && return
  done
  return 1
}

# The token stands in no argument: every process of a machine can read those of the others.
report() {
  bearer="Authorization: Bearer $GODWIT_JOIN_TOKEN" url=$GODWIT_URL/v1/agent/startup-failure
  for pause in 1 2 4 8 0; do
    { by_curl || by_python || by_wget; } 2>/dev/null && return
    sleep $pause
  done
  say "cannot tell $GODWIT_URL of this" >&3
}

# What is said goes where it always went, and its end to `report`; when nobody listens there any more, the agent goes on.
# One that ends well is not needed any more; who is killed on the way gave nothing up.
{ main && say over || say "gave up: $why"; } 2>&1 | (
  trap '' PIPE
  while IFS= read -r line; do
    case $line in *"$GODWIT_JOIN_TOKEN"*) line='(the join token)' ;; esac
    printf '%s\n' "$line" >&3
    printf '%s\n' "$line"
  done
) | {
  lines=$(tail -n 40 | tail -c 12000)
  case $lines in
    *'godwit: over') exit 0 ;;
    *'godwit: gave up: '*) report ;;
  esac
  exit 1
}
