# shellcheck shell=bash
# What a cluster is made of. A part is a directory below parts/ with a script `build`, which puts it together in the
# directory that it is given. What was built stays in the cache, under a name with the digest of all that decides it.

PARTS=(kubernetes debian coredns echo images) # of every node; `conformance` is built when it is asked for
declare -A MADE_OF=([images]='kubernetes coredns echo')

part_digest() {
	local part=$1 other
	[ -x "$HERE/parts/$part/build" ] || die "no part '$part'; there are: ${PARTS[*]} conformance"
	{
		uname -m
		for other in ${MADE_OF[$part]:-}; do part_digest "$other"; done
		(cd "$HERE/parts/$part" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum)
		case $part in
		debian) sed -n 's/^VERSION_ID=//p' /etc/os-release ;;
		images) sha256sum <"$ROOT/hack/image.py" && sha256sum <"$ROOT/hack/envoy.sh" ;;
		*) sha256sum <"$ROOT/hack/go.sh" ;;
		esac
	} | sha256sum | cut -c 1-12
}
part_directory() { say "$CACHE/$1-$(part_digest "$1")"; }

# build PART...: what is missing, and before it what that is made of
build() {
	local part
	for part; do
		[ -d "$(part_directory "$part")" ] || build_now "$part"
	done
}

build_now() {
	local part=$1 begin=$EPOCHREALTIME directory work
	need flock python3
	# shellcheck disable=SC2086 # a list
	build ${MADE_OF[$part]:-}
	directory=$(part_directory "$part")
	work=$CACHE/.$part
	mkdir -p "$CACHE"
	(
		flock 8
		[ ! -d "$directory" ] || exit 0 # by somebody else meanwhile
		note "building $part ..."
		rm -rf "$work"
		mkdir "$work"
		if ! build_alone "$part" "$work" >"$CACHE/$part.log" 2>&1; then
			tail -n 30 "$CACHE/$part.log" >&2
			die "cannot build $part; all that it said: $CACHE/$part.log"
		fi
		mv -T "$work" "$directory"
		note "built $part in $(seconds_since "$begin") s"
	) 8>"$CACHE/lock"
}

# A process of its own, which hears nothing of the machine's own settings of Go
build_alone() {
	local go kubernetes coredns echo
	case $1 in
	debian) ;;
	images) kubernetes=$(part_directory kubernetes) coredns=$(part_directory coredns) echo=$(part_directory echo) ;;
	*) go=$("$ROOT/hack/go.sh") || return ;;
	esac
	(cd "$HERE/parts/$1" && exec env -u GOROOT -u GOOS -u GOARCH GO="${go:-}" GOTOOLCHAIN=local GOWORK=off CGO_ENABLED=0 \
		GOFLAGS='-mod=readonly -buildvcs=false' KUBERNETES="${kubernetes:-}" COREDNS="${coredns:-}" ECHO="${echo:-}" \
		IMAGE="$ROOT/hack/image.py" ENVOY="$ROOT/hack/envoy.sh" ./build "$2" 8>&-)
}
