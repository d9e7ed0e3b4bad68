# Sourced by the scripts beside it, which have `here` and `say`: raises what all sandboxes share in the kernel.
# shellcheck shell=bash disable=SC2154

# What all sandboxes share in the kernel is raised to what sysctl.conf says; nothing is lowered.
raise_kernel_limits() {
    local name value file low=() sudo=()
    while read -r name _ value; do
        file=/proc/sys/${name//.//}
        [ -r "$file" ] || continue
        if [ "$(cat "$file")" -lt "$value" ]; then low+=("$name=$value"); fi
    done < <(grep -v -e '^#' -e '^$' "$here/sysctl.conf")
    [ "${#low[@]}" -gt 0 ] || return 0
    say "raising what sandboxes share in the kernel, until the next reboot: ${low[*]}"
    if [ "$(id -u)" -ne 0 ]; then
        say "sudo is needed for that"
        sudo=(sudo)
    fi
    for value in "${low[@]}"; do
        file=/proc/sys/${value%%=*}
        file=${file//.//}
        # Not by sysctl, which need not be installed.
        if ! printf '%s\n' "${value#*=}" | "${sudo[@]}" tee "$file" >/dev/null; then
            say "${value%%=*} cannot be set here; without it one learner can take all of it from the others"
        fi
    done
}
