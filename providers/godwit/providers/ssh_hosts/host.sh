# What godwit does on a host of one's own. Plain sh, awk, setsid and /proc: no root, nothing installed.
# One text per call, sent as `{ this file; one verb; }`: a connection that tears while it is sent runs nothing of it.
#
#   $base/lock/TOKEN        the host is taken; its facts, then the mark of the processes and the host's time. A folder, so
#                           that it can be had by one only; a file in it, so that only its own token frees it.
#   $base/machines/TOKEN/   script, log, node_dir, first (process), status (of the script), ending (how), ender (process)

exec </dev/null
umask 077
# By the host's name: homes are often shared between hosts.
base="${HOME:?}/.godwit-host/$(uname -n)"
lock="$base/lock"
starting_s=60 # a machine without a first process after so long was begun by somebody who died
grace=50      # naps between asking the processes to end and ending them

# A shell's own start-up files may talk as well: only lines with this mark are ours.
say() { printf 'godwit: %s\n' "$*"; }
nap() { sleep 0.1 2>/dev/null || sleep 1; }

# PID: when it started, in ticks of this boot. Fails for one that is gone, or a zombie.
started() {
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  set -- ${stat##*) }
  case $1 in Z | X) return 1 ;; esac
  read -r boot </proc/sys/kernel/random/boot_id
  echo "${20} $boot"
}

# FILE of "pid ticks boot": whether that very process lives.
lives() { { read -r pid rest <"$1"; } 2>/dev/null && [ "$(started "$pid")" = "$rest" ]; }

# MARK: sets $pids to every live process that carries it, their descendants and all in their sessions, which are added
# to $sessions: a program that sets its title loses the mark, and stays in its session.
survey() {
  read -r stat </proc/$$/stat
  set -- "$1" ${stat##*) }
  own=$5
  marked=$(LC_ALL=C grep -lsF -e "GODWIT_INSTANCE_MARK=$1" /proc/[0-9]*/environ | tr -dc '0-9\n' | tr '\n' ' ')
  found=$(cat /proc/[0-9]*/stat 2>/dev/null | LC_ALL=C awk -v marked="$marked" -v sessions="$sessions" -v own="$own" '
    /^[0-9]+ \(/ { pid = $1 }
    /\) [A-Za-z] / {
      sub(/^.*\) /, "")
      if ($1 != "Z" && $1 != "X") { parent[pid] = $2; session[pid] = $4 }
    }
    END {
      n = split(marked, list, " "); for (i = 1; i <= n; i++) mark[list[i]] = 1
      n = split(sessions, list, " "); for (i = 1; i <= n; i++) theirs[list[i]] = 1
      do {
        grown = 0
        for (p in parent) {
          if (p in found || !(p in mark || parent[p] in found || session[p] in theirs)) continue
          found[p] = 1; grown = 1
          if (session[p] != 0 && session[p] != own) theirs[session[p]] = 1
        }
      } while (grown)
      for (s in theirs) printf " %s", s
      printf "|"
      for (p in found) printf " %s", p
    }')
  sessions=${found%%|*} pids=${found#*|}
}

# TOKEN: sets $state, $facts, $mark and $room; fails when no such machine holds the host.
look_at() {
  token=$1 room="$base/machines/$1" sessions='' status=''
  { { read -r facts && read -r mark at; } <"$lock/$1"; } 2>/dev/null || return 1
  if [ -e "$room/ending" ]; then
    state=ending
    lives "$room/ender" || end_soon # whoever was ending it died
  elif lives "$room/first"; then
    state=running
  elif [ ! -e "$room/first" ] && [ $(($(date +%s) - at)) -lt $starting_s ]; then
    state=starting
  else
    { read -r status <"$room/status"; } 2>/dev/null
    survey "$mark"
    case $status:$pids in
      0:) state=ended ;;
      0:*) state=running ;; # its script is done, what it started is not
      *:) state=failed ;;
      *) # failed is said once nothing of it is left
        state=ending
        echo failed >"$room/ending" && end_soon
        ;;
    esac
  fi
}

end_soon() {
  (end_now "$token" "$mark") </dev/null >/dev/null 2>&1 &
  # The folder may be gone by now: then it has ended.
  { echo "$! $(started $!)" >"$room/ender.new" && mv "$room/ender.new" "$room/ender"; } 2>/dev/null
}

# TOKEN MARK: ends every process of the machine: asked first, then killed. Without a bound on purpose: to call a machine
# gone while a process of it lives would let its work run twice. Two of these at once do no harm:
# the first to be done takes the word of how it ended with it.
end_now() {
  sessions='' waited=0 quiet=0 rounds=0
  survey "$2"
  [ -z "$pids" ] || kill -TERM $pids
  while [ -n "$pids" ] && [ $waited -lt $grace ]; do
    nap
    waited=$((waited + 1))
    survey "$2"
  done
  while [ $quiet -lt 2 ]; do # /proc shows an empty environment while a process is inside exec()
    if [ -n "$pids" ]; then
      quiet=0
      kill -KILL $pids
    else
      quiet=$((quiet + 1))
    fi
    rounds=$((rounds + 1))
    nap
    [ $rounds -lt 50 ] || sleep 2 # one in uninterruptible sleep dies when its disk answers
    survey "$2"
  done
  { read -r now_at && read -r now_mark at; } <"$lock/$1"
  [ "$now_mark" = "$2" ] || return 0 # another machine has the place by now
  { read -r how <"$base/machines/$1/ending"; } 2>/dev/null || return 0 # another of these was done first
  if [ "$how" = failed ]; then
    drop_node_dir "$1"
    rm -f "$base/machines/$1/ending" # its log stays until the host is used again
  else
    forget "$1"
  fi
}

drop_node_dir() {
  { read -r dir <"$base/machines/$1/node_dir"; } 2>/dev/null || return 0
  case $dir in /tmp/gw-*) rm -rf "$dir" ;; esac
}

# TOKEN: removes what is left of it; the host is free last.
forget() {
  drop_node_dir "$1"
  rm -rf "$base/machines/$1"
  rm -f "$lock/$1"
  rmdir "$lock" 2>/dev/null # unless another has it by now
}

# Frees the host of machines that are over, whoever had them: their owner may never come back.
reclaim() {
  for file in "$lock"/*; do
    [ -f "$file" ] && look_at "${file##*/}" || continue
    case $state in ended | failed) forget "$token" ;; esac
  done
  rmdir "$lock" 2>/dev/null # left by somebody who died while freeing it
}

# TOKEN MARK FACTS: takes the host; fails when another has it. The lock appears in one step with what is in it: a folder
# can be renamed to one that is missing or empty, and to no other.
take() {
  new="$base/new.$$"
  mkdir "$new" && printf '%s\n' "$3" "$2 $(date +%s)" >"$new/$1" && mv -T "$new" "$lock" 2>/dev/null || rm -rf "$new"
  [ -e "$lock/$1" ]
}

# The machine's first process: it notes who it is, runs the script, and notes how that ended.
first='
room=$1
read -r stat </proc/$$/stat
read -r boot </proc/sys/kernel/random/boot_id
[ -e "$2" ] || exit 1
set -- ${stat##*) }
echo "$$ ${20} $boot" >"$room/first.new" && mv "$room/first.new" "$room/first" || exit 1
sh "$room/script"
status=$?
echo "$status" >"$room/status.new" && mv "$room/status.new" "$room/status"
exit "$status"'

# PYTHON SCRIPT: starts the machine of $token in a session of its own.
start() {
  dir=$(mktemp -d /tmp/gw-XXXXXX) || return 1 # short: sockets lie below it
  echo "$dir" >"$room/node_dir" && printf '%s\n' "$2" >"$room/script" && : >"$room/log" || return 1
  (
    cd "$HOME" || exit 1
    # An agent that has to be installed stays for the next machine.
    export GODWIT_INSTANCE_MARK="$mark" GODWIT_NODE_DIR="$dir" GODWIT_AGENT_DIR="$base"
    [ -z "$1" ] || export GODWIT_PYTHON="$1"
    exec setsid sh -c "$first" godwit "$room" "$lock/$token"
  ) >>"$room/log" 2>&1 &
}

# TOKEN MARK FACTS PYTHON SCRIPT: makes this host a node; the same token finds what is there.
launch() {
  for tool in awk setsid mktemp; do
    command -v $tool >/dev/null || { say broken "it has no $tool: install it" && return; }
  done
  mkdir -p "$base/machines" 2>/dev/null && : >"$base/new.$$" && rm -f "$base/new.$$" || {
    say broken "nothing can be written to $base: make room, or give the user a home"
    return
  }
  if [ ! -e "$lock/$1" ]; then
    reclaim
    take "$1" "$2" "$3" || { say taken && return; }
  fi
  look_at "$1" || { say taken && return; }
  if mkdir "$room" 2>/dev/null; then # once per token
    start "$4" "$5" || {
      forget "$1"
      say broken "no machine could be started: is its disk full?"
      return
    }
  fi
  say machine "$state" "$facts"
}

look() {
  for file in "$lock"/*; do
    [ -f "$file" ] && look_at "${file##*/}" || continue
    say machine "$state" "$facts"
    # A writer that appends goes on behind the cut.
    if [ -f "$room/log" ] && [ "$(wc -c <"$room/log")" -gt 1048576 ]; then
      tail -c 524288 "$room/log" >"$room/log.new" && cat "$room/log.new" >"$room/log" && rm -f "$room/log.new"
    fi
  done
}

# TOKEN: asks for its end; `look` shows when it has come.
terminate() {
  look_at "$1" || return 0
  { mkdir -p "$room" && echo terminated >"$room/ending"; } 2>/dev/null || {
    say broken "nothing can be written to $room: make room"
    return
  }
  lives "$room/ender" || end_soon
}

probe() {
  say cpus "$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)"
  say memory_kib "$(sed -n 's/^MemTotal: *\([0-9]*\) kB$/\1/p' /proc/meminfo)"
  command -v nvidia-smi >/dev/null || return 0
  # A driver that hangs must not take the host's other answers with it.
  gpus=$(timeout 10 nvidia-smi --query-gpu=name,memory.total --format=csv,noheader,nounits 2>/dev/null) || {
    say gpu_trouble "$?"
    return
  }
  printf '%s\n' "$gpus" | sed -n 's/^./godwit: gpu &/p'
}
