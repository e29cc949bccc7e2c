# Debian packages that quickstart and check install.  To be sourced.

packages_build="gcc make autoconf automake pkg-config libc6-dev \
libpcre2-dev libcurl4-openssl-dev libjson-c-dev libconfig-dev libsqlite3-dev \
libyaml-dev libmicrohttpd-dev libevent-dev zlib1g-dev libzstd-dev liblzma-dev \
libxxhash-dev libpq-dev libsystemd-dev uthash-dev tzdata python3"
packages_check="libcmocka-dev clang-format cppcheck mandoc nghttp2-server openssl \
postgresql shellcheck systemd-journal-remote valgrind"

# install_packages PACKAGE...: install those that are not there, asking nothing.
install_packages() {
	missing=
	for package; do
		dpkg-query -W -f '${Status}' "$package" 2>/dev/null |
		    grep -q 'ok installed' || missing="$missing $package"
	done
	[ -n "$missing" ] || return 0
	if [ "$(id -u)" = 0 ]; then
		sudo=
	elif command -v sudo >/dev/null; then
		sudo=sudo
	else
		echo "These packages are missing; as root: apt-get install$missing" >&2
		return 1
	fi
	echo "Installing$missing"
	apt_log=$(mktemp) || return 1
	# shellcheck disable=SC2086
	quietly "$apt_log" $sudo apt-get -qq update &&
	    quietly "$apt_log" $sudo env DEBIAN_FRONTEND=noninteractive \
		apt-get -qq -y install --no-install-recommends $missing
	status=$?
	rm -f "$apt_log"
	return $status
}

# quietly LOG COMMAND...: run it; show what it printed only if it failed.
quietly() {
	log=$1
	shift
	"$@" >"$log" 2>&1 && return 0
	echo "failed: $*" >&2
	tail -n 60 "$log" >&2
	return 1
}

processors() {
	getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1
}
