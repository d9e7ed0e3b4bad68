# Sourced by the scripts beside it: finds Debian's archive among this machine's own package sources.
# shellcheck shell=bash

# own_mirror SUITE prints the first of this machine's package sources that has that release of Debian; nothing when none
# has it. What has a label of its own (security, backports, vendors) is not the main archive.
own_mirror() {
    local uri release
    command -v apt-get >/dev/null || return 0
    for uri in $(apt-get indextargets --format "\$(REPO_URI)" 'Created-By: Packages' 2>/dev/null | sort -u); do
        case $uri in http://* | https://*) ;; *) continue ;; esac
        uri=${uri%/}
        release=$(curl -fs --max-time 10 "$uri/dists/$1/Release") || continue
        case $'\n'$release in
        *$'\nLabel: Debian\n'*)
            printf '%s\n' "$uri"
            return 0
            ;;
        esac
    done
}
