# What `edge-tqs deploy` has done on the host, by its login shell's `sh -c`: POSIX, and what both GNU and BusyBox have.
# Arguments: STEP PREFIX NAME RELEASE [OPTION...], the options being install.sh's. Answers are lines "KEY VALUE" on standard output;
# "error SENTENCE" and code 3 say what went wrong.
#
# PREFIX/NAME/releases/RELEASE are bundles, never changed once they are there; PREFIX/NAME/current and previous point to two of them.
set -u
LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
export LC_ALL PATH
umask 022
step=$1 prefix=$2 name=$3 release=$4
shift 4
case $prefix in /*) ;; *) prefix=$HOME/$prefix ;; esac
folder=$prefix/$name
options=" $* "

fail() {
    echo "error $*"
    exit 3
}

# The release that a link points to; nothing where there is none.
linked() {
    [ ! -d "$folder/$1/." ] || basename -- "$(readlink "$folder/$1")"
}

# Whether all files of a release are as they were sent, and the list of them is the one that its name tells.
intact() {
    [ -d "$folder/releases/$1" ] && (
        cd "$folder/releases/$1" && said=$(sha256sum SHA256SUMS 2>/dev/null) &&
            case $1 in *-"$(echo "$said" | cut -c1-8)") ;; *) exit 1 ;; esac && sha256sum -c SHA256SUMS >/dev/null 2>&1
    )
}

# Another release takes a link's place in one step: whoever looks sees the one or the other.
point() {
    ln -s "releases/$2" "$folder/.$1-$$" && mv -f -T "$folder/.$1-$$" "$folder/$1"
}

# How install.sh can be run: as this user (self), by sudo, or not at all (none).
way() {
    case $options in *" --no-start "*) echo self && return ;; esac
    if [ "$(id -u)" -eq 0 ]; then
        echo self
    elif sudo -n true 2>/dev/null; then
        echo sudo
    else
        echo none
    fi
}

# Whether systemd runs here: a container has its programs too.
systemd_runs() {
    case $(systemctl is-system-running 2>/dev/null) in
    initializing | starting | running | degraded | maintenance) ;;
    *) return 1 ;;
    esac
}

# Whether install.sh starts something.
starts() {
    systemd_runs && [ "$(way)" != none ] && case $options in *" --no-start "*) false ;; esac
}

probe() {
    echo "machine $(uname -m)"
    echo "bits $(getconf LONG_BIT 2>/dev/null)"
    python3 -c 'import sys, importlib.util
print("python %d.%d" % sys.version_info[:2])
print("mqtt", importlib.util.find_spec("paho") or "")' 2>/dev/null
    echo "way $(way)"
    systemd_runs && echo "systemd yes"
    echo "folder $folder"
    echo "current $(linked current)"
    echo "previous $(linked previous)"
    intact "$release" && echo "has $release"
    place=$folder
    while [ ! -d "$place" ]; do place=$(dirname -- "$place"); done
    [ -w "$place" ] || fail "$place cannot be written to by $(id -un)"
    echo "free $(df -Pk "$place" | awk 'NR == 2 { print $4 }')"
}

# A tar file on standard input.
receive() {
    new=$folder/releases/.new-$release
    trap 'rm -rf "$new"' EXIT
    rm -rf "$new"
    said=$(mkdir -p "$new" 2>&1) || fail "$said"
    said=$(tar -x -f - -C "$new" 2>&1) || fail "$(echo "$said" | head -n 1)"
    said=$(cd "$new" && sha256sum -c SHA256SUMS 2>&1) || fail "files differ from what was sent"
    find "$new" -type f -exec sync {} + 2>/dev/null || sync
    rm -rf "$folder/releases/$release"
    mv "$new" "$folder/releases/$release" || fail "the release cannot be put in its place"
    : >"$folder/releases/.awaited-$release"
}

# install.sh of the current release; what it says goes to standard output. Live forecasts, unless the options say what.
install() {
    case $options in
    *" --server "*) ;;
    *)
        if grep -q '"kind": *"stdin"' "$folder/current/forecastd.json"; then
            echo "not installed: edge-tqs-forecastd would read standard input, which a service has not"
            return
        fi
        set -- --server forecastd "$@"
        ;;
    esac
    systemd_runs || case $options in *" --no-start "*) ;; *) set -- "$@" --no-start ;; esac
    case $(way) in
    self) (cd "$folder/current" && ./install.sh "$@") ;;
    sudo) (cd "$folder/current" && sudo -n ./install.sh "$@") ;;
    none) echo "not installed: that needs root, and sudo asks for a password; do it there: cd $folder/current && sudo ./install.sh $*" ;;
    esac 2>&1
}

# What of this model runs no more some seconds after it was started, with the last line that it wrote.
fallen() {
    starts || return 0
    sleep 4
    set -- "edge-tqs-$name.service" "edge-tqs-forecastd-$name.service"
    for unit in $(systemctl list-unit-files --no-legend "$@" 2>/dev/null | awk '{ print $1 }'); do
        systemctl is-active --quiet "$unit" && continue
        echo "$unit does not go on running: $(journalctl -q -n 1 -o cat -u "$unit" 2>/dev/null)"
        return 0
    done
}

# Make a release the current one and install it; where that fails, what was there before is there again.
activate() {
    trap '' HUP PIPE
    before=$(linked current)
    intact "$1" || fail "release $1 is not there, or damaged"
    target=$1
    shift
    point current "$target" || fail "the link $folder/current cannot be changed"
    if said=$(install "$@"); then
        wrong=$(fallen)
    else
        wrong="install.sh: $(echo "$said" | tail -n 1)"
    fi
    if [ -n "$wrong" ]; then
        if [ -n "$before" ]; then
            point current "$before"
            again=$(install "$@") || wrong="$wrong; going back failed too: $(echo "$again" | tail -n 1)"
        else
            rm -f "$folder/current"
        fi
        fail "$wrong"
    fi
    [ -z "$before" ] || [ "$before" = "$target" ] || point previous "$before"
    echo "$said" | sed -n 's/^\(.*\)$/said \1/p' | grep -v '^said $'
    rm -f "$folder/releases/.awaited-$target"
    for other in "$folder"/releases/*; do
        case ${other##*/} in "$target" | "$(linked previous)") continue ;; esac
        # Another deploy may have brought it a moment ago; one that was broken off long ago has not.
        awaited=$folder/releases/.awaited-${other##*/}
        [ -z "$(find "$awaited" -mmin -60 2>/dev/null)" ] || continue
        rm -rf "$other" "$awaited"
    done
    echo "current $target"
}

# Two that deploy at once take turns where something is changed; the second waits, for as long as a slow service may start.
case $step in receive | activate)
    mkdir -p "$folder" 2>/dev/null && exec 9<"$folder" || fail "$folder cannot be written to by $(id -un)"
    ! command -v flock >/dev/null 2>&1 || flock -w 120 9 || fail "another deploy of $name has been at work here for two minutes"
    ;;
esac
case $step in
probe) probe ;;
receive) receive ;;
serve) cd "$folder/releases/$release" && exec ./forecaster --stdio ;;
check) cd "$folder/releases/$release" && exec python3 -B - ;;
activate) activate "$release" "$@" ;;
discard)
    rm -f "$folder/releases/.awaited-$release"
    [ "$(linked current)" = "$release" ] || [ "$(linked previous)" = "$release" ] || rm -rf "$folder/releases/$release" ;;
esac
