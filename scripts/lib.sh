# shellcheck shell=bash disable=SC2034 # what is set here is used there
# Helpers for every script here; source it, do not run it. stdout is data, stderr is messages.
set -euo pipefail
shopt -s inherit_errexit

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/bakery
RUN=${BAKERY_RUN:-$CACHE/run} # files that are of use only as long as the processes that they describe
ARCHES=(amd64 arm64)
export DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1
mkdir -p "$CACHE/bin"

info() { printf '==> %s\n' "$*" >&2; }
note() { printf '    %s\n' "$*" >&2; }
die() { # die TEXT [HINT]
  printf 'error: %s\n' "$1" >&2
  [ $# -lt 2 ] || printf 'hint: %s\n' "$2" >&2
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }
usage() { # prints the comment at the head of the script
  sed -n '2,/^[^#]/{/^# shellcheck/d;s/^# \{0,1\}//p}' "$0"
}
[[ ${1:-} != --help ]] || { usage && exit; }

root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif have sudo; then sudo "$@"; else die "root is needed for: $*" "run as root, or install sudo"; fi
}

# await SECONDS WHAT COMMAND...: repeats the command until it succeeds. If $RUN/WHAT.pid exists, that process must run as long.
await() {
  local until=$((SECONDS + $1)) what=$2 spawned=$RUN/$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ ! -e "$spawned.pid" ] || alive "$spawned.pid" || die "$what ended: $(tail -20 "$spawned.log")"
    [ $SECONDS -lt $until ] || die "$what did not become ready in time$([ ! -e "$spawned.log" ] || { echo : && tail -20 "$spawned.log"; })"
    sleep 0.1
  done
}

# A pid alone may belong to another process by now; together with its start time (clock ticks since boot) it is unique.
start_time() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
remember() { printf '%s %s\n' "$1" "$(start_time "$1")"; }
alive() { # alive FILE: does the process that remember wrote to the file still run?
  local pid start
  read -r pid start 2>/dev/null <"$1" || return 1
  [ -n "$start" ] && [ "$(start_time "$pid" || true)" = "$start" ] && [ "$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | cut -c1)" != Z ]
}
end() { # end FILE [SECONDS [group]]: ends that process (or its group) with SIGTERM, after SECONDS with SIGKILL
  local pid until=$((SECONDS + ${2:-10}))
  if alive "$1"; then
    read -r pid _ <"$1"
    [ "${3:-}" != group ] || pid=-$pid
    root kill -TERM -- "$pid" 2>/dev/null || true
    while alive "$1" && [ $SECONDS -lt $until ]; do sleep 0.1; done
    ! alive "$1" || root kill -KILL -- "$pid" 2>/dev/null || true
  fi
  rm -f "$1"
}
spawn() { # spawn FILE LOG COMMAND...: in the background, in a group of its own, which the terminal's Ctrl-C does not reach
  local file=$1 log=$2
  shift 2
  setsid "$@" </dev/null >"$log" 2>&1 7>&- 8>&- 9>&- &
  remember $! >"$file"
}

# A part that several callers share (the engine, the emulation) ends with its last holder: a running process, or a person ("by-hand").
hold() { # hold FOLDER PID|by-hand
  mkdir -p "$1"
  if [ "$2" = by-hand ]; then : >"$1/by-hand"; else remember "$2" >"$1/$2"; fi
}
held() { # held FOLDER: does it still have a holder?
  local f
  for f in "$1"/*; do
    [ -e "$f" ] || continue
    if [ "${f##*/}" = by-hand ] || alive "$f"; then return 0; fi
    rm -f "$f"
  done
  return 1
}

host_arch() {
  case $(uname -m) in
  x86_64) echo amd64 ;;
  aarch64) echo arm64 ;;
  *) die "the machine $(uname -m) is not supported" "amd64 or arm64" ;;
  esac
}
musl_target() { case $1 in amd64) echo x86_64-unknown-linux-musl ;; arm64) echo aarch64-unknown-linux-musl ;; esac }
version() { sed -n '/^\[workspace.package\]/,/^\[/s/^version *= *"\(.*\)"/\1/p' "$REPO/Cargo.toml"; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

go_build() { # go_build FOLDER LDFLAGS FILE PACKAGE: builds from the modules that the folder pins, for GOARCH
  "$REPO/scripts/need" go
  # readonly: go.sum is complete, so a module that differs is refused. nice: other builds need the same cores.
  (cd "$1" && CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-mod=readonly nice -n 10 "$CACHE/bin/go" build -trimpath -buildvcs=false \
    -ldflags "-s -w $2" -o "$3" "$4" 9>&-) 2>&1 | { grep -v '^go: downloading' >&2 || true; }
}

own_program() { # own_program NAME MODULE DURATION: builds the program of scripts/NAME, which uses the module; prints its path
  local folder=$REPO/scripts/$1 version file
  version=$(sed -n "s#^require $2 ##p" "$folder/go.mod")
  file=$CACHE/$1/$version-$(cat "$folder"/go.* "$folder/main.go" | sha256sum | cut -c1-12)/$1
  mkdir -p "${file%/*}"
  exec 9>"$file.lock" && flock 9
  if [ ! -x "$file" ]; then
    info "building a program with $2 $version ($3)"
    go_build "$folder" '' "$file.part" . || die "the program with $2 was not built" "see the messages above"
    mv "$file.part" "$file"
  fi
  flock -u 9
  exec 9>&-
  note "Go module $2 $version"
  echo "$file"
}

# Debian packages for any architecture, unpacked outside of the system: nothing is installed, no architecture is added.
deb() { # deb PACKAGE ARCH: prints the folder that holds its files
  local dir=$CACHE/deb/$1-$2 apt=$CACHE/apt tmp
  if [ ! -e "$dir/.whole" ]; then
    exec 8>"$CACHE/apt.lock" && flock 8
    if [ ! -e "$dir/.whole" ]; then
      mkdir -p "$apt"/{lists,cache}/partial "$CACHE/deb"
      cat >"$apt/conf" <<EOF
APT::Architectures { "amd64"; "arm64"; };
APT::Sandbox::User "";
Dir::State::Lists "$apt/lists";
Dir::Cache "$apt/cache";
EOF
      # The lists are fetched once a day: an older list names packages that the mirror no longer has.
      if [ -z "$(find "$apt/updated" -mtime -1 2>/dev/null)" ]; then
        info "Debian's package lists for amd64 and arm64, kept apart from the system's (5 s)"
        APT_CONFIG=$apt/conf apt-get -q update >"$apt/log" 2>&1 || die "apt-get update failed: $(tail -3 "$apt/log")"
        touch "$apt/updated"
      fi
      tmp=$(mktemp -d "$CACHE/deb/.tmp.XXXXXX")
      (cd "$tmp" && APT_CONFIG=$apt/conf apt-get -q download "$1:$2" >"$apt/log" 2>&1) ||
        die "Debian's package $1 ($2) could not be downloaded: $(tail -3 "$apt/log")"
      rm -rf "$dir"
      dpkg -x "$tmp"/*.deb "$dir"
      rm -rf "$tmp"
      touch "$dir/.whole"
    fi
    flock -u 8
    exec 8>&-
  fi
  echo "$dir"
}
