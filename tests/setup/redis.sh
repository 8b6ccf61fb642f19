#!/usr/bin/env bash
# Prints the path of a redis-server: the one on PATH if it is new enough, else Debian's, which is downloaded with apt-get and
# unpacked into the user's cache, with those of its libraries that the machine lacks. Nothing is installed, and no root is needed.
# Running this again is free; running it several times at once is safe.
set -euo pipefail

oldest=7 # limitador's scripts want `EXPIRE … NX`
cache="${XDG_CACHE_HOME:-${HOME:?set HOME or XDG_CACHE_HOME}/.cache}/postern"
system=$(. /etc/os-release 2>/dev/null && printf '%s-%s' "${ID:-linux}" "${VERSION_ID:-any}") || system=$(uname -s)
home="$cache/redis-$system"

fail() {
	printf 'redis.sh: %s\n' "$@" >&2
	exit 1
}

remedy="install Redis $oldest or later (for example: apt-get install redis-server), or set POSTERN_REDIS to a redis-server"

if found=$(command -v redis-server); then
	version=$("$found" --version | sed -n 's/.* v=\([0-9]*\)\..*/\1/p')
	if [ "${version:-0}" -ge "$oldest" ]; then
		printf '%s\n' "$found"
		exit 0
	fi
fi

if [ ! -x "$home/redis-server" ]; then
	command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
		fail "redis-server is not on PATH, and there is no apt-get to fetch Debian's with" "$remedy"
	mkdir -p "$cache"
	work=$(mktemp -d "$cache/.redis.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/packages" "$work/home/root"
	printf 'Fetching Redis into %s\n' "$home" >&2

	# Downloads what an installation would add to this machine. Arguments are options of apt-get.
	download() {
		local plan
		plan=$(apt-get "$@" install --simulate --no-install-recommends redis-server) || return 1
		# A C library beside that of the machine would break every program that is given it.
		mapfile -t packages < <(awk '$1 == "Inst" && $2 !~ /^libc(6|-bin)/ { print $2 }' <<<"$plan")
		[ "${#packages[@]}" -gt 0 ] || packages=(redis-server redis-tools)
		(cd "$work/packages" && apt-get "$@" -o APT::Sandbox::User=root -qq download "${packages[@]}")
	}
	own=(-o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work" -o APT::Sandbox::User=root)
	{
		download 2>/dev/null ||
			# The lists of packages are missing or old: take new ones, and leave those of the machine alone.
			{ apt-get "${own[@]}" -qq update && download "${own[@]}"; }
	} >&2 || fail "apt-get cannot download redis-server" "can it reach its mirror? Else $remedy"

	for package in "$work"/packages/*.deb; do dpkg-deb --extract "$package" "$work/home/root"; done
	libraries=$(cd "$work/home" && find root -name '*.so*' -printf '$here/%h:' | tr ':' '\n' | sort -u | paste -sd:)
	cat >"$work/home/redis-server" <<-END
		#!/bin/sh
		here=\$(dirname "\$(readlink -f "\$0")")
		LD_LIBRARY_PATH="$libraries\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}" exec "\$here/root/usr/bin/redis-server" "\$@"
	END
	chmod +x "$work/home/redis-server"
	said=$("$work/home/redis-server" --version 2>&1) || fail "Debian's redis-server does not run here: $said" "$remedy"
	version=$(sed -n 's/.* v=\([0-9]*\)\..*/\1/p' <<<"$said")
	[ "${version:-0}" -ge "$oldest" ] || fail "the distribution's Redis is too old: $said" "$remedy"
	mv -T "$work/home" "$home" 2>/dev/null || [ -x "$home/redis-server" ] || fail "cannot put Redis into $home"
fi
printf '%s\n' "$home/redis-server"
