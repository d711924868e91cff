#!/usr/bin/env bash
# Installs what the tests start: PostgreSQL (15 or later), Chromium and valgrind from the system's packages, everything else into a
# virtual environment at <repository>/.services. Safe to call again: what is there is left alone.
#
#   PIPELINE_SERVICES_BIN   a folder with the programs, if they shall not come from <repository>/.services
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
environment="$(dirname "$here")/.services"
pins="$here/services.txt"
postgres_version_min=15

say() { printf 'services: %s\n' "$*"; }
fail() {
    printf 'services: %s\n' "$1" >&2
    printf 'hint: %s\n' "$2" >&2
    exit 1
}

# The folder of the newest PostgreSQL that is new enough, if any.
postgres_folder() {
    local folder found='' version best=0
    for folder in /usr/lib/postgresql/*/bin /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin /usr/pgsql-*/bin "$(dirname "$(command -v postgres || echo /none/none)")"; do
        if [ -x "$folder/postgres" ] && [ -x "$folder/initdb" ] && [ -x "$folder/psql" ]; then
            version="$("$folder/postgres" --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/')"
            if [ "$version" -ge "$postgres_version_min" ] && [ "$version" -gt "$best" ]; then
                best="$version"
                found="$folder"
            fi
        fi
    done
    printf '%s' "$found"
}

apt_updated=''
# Installs Debian packages, or says what to install when that is not ours to do.
apt_install() {
    if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
        fail "missing: $*" "Install them with the system's package manager (Debian, Ubuntu: sudo apt-get install $*), then run this again."
    fi
    if [ -z "$apt_updated" ]; then
        say 'apt-get update'
        apt-get -qq update
        apt_updated=yes
    fi
    say "apt-get install $*"
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >/dev/null
}

# PostgreSQL without the cluster that Debian would otherwise make and start on port 5432.
install_postgres() {
    local options=/etc/postgresql-common/createcluster.conf
    apt_install postgresql-common
    sed -i -E 's/^#? *create_main_cluster *=.*/create_main_cluster = false/' "$options"
    apt_install postgresql postgresql-client
    sed -i -E 's/^create_main_cluster = false$/#create_main_cluster = true/' "$options"
}

postgres="$(postgres_folder)"
if [ -z "$postgres" ]; then
    install_postgres
    postgres="$(postgres_folder)"
    [ -n "$postgres" ] || fail "PostgreSQL $postgres_version_min or later is missing, and the system's packages have an older one" \
        'Install it from https://www.postgresql.org/download/, then run this again.'
fi
say "$("$postgres/postgres" --version | sed -E 's/^postgres \(PostgreSQL\)/PostgreSQL/') in $postgres"

# A pooler in front of PostgreSQL. Tests start their own.
if [ ! -x /usr/sbin/pgbouncer ]; then
    apt_install pgbouncer
fi

# A browser for pages, and what drives it.
if ! command -v chromedriver >/dev/null || ! { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null; then
    apt_install chromium chromium-driver
fi

# Counts the instructions of the decoders. Elsewhere they are not counted.
if [ "$(uname -s) $(uname -m)" = 'Linux x86_64' ] && ! command -v valgrind >/dev/null; then
    apt_install valgrind
fi

if [ -n "${PIPELINE_SERVICES_BIN:-}" ]; then
    say "other servers: $PIPELINE_SERVICES_BIN, as PIPELINE_SERVICES_BIN says"
    exit 0
fi

command -v python3 >/dev/null || apt_install python3
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "python3 is $(python3 -V | cut -d' ' -f2), and 3.10 or later is needed" \
    'Put a newer python3 first in PATH, then run this again.'

# Two runs at once must not build the same environment; the lock ends with this shell.
if command -v flock >/dev/null; then
    exec 9<"$pins"
    flock 9
fi

stamp="$(cat "$pins" "${BASH_SOURCE[0]}" <(python3 -V) | cksum)"
if [ "$(cat "$environment/.stamp" 2>/dev/null || true)" = "$stamp" ]; then
    say "other servers: already in $environment"
    exit 0
fi

say "other servers: installing into $environment (about a minute, 500 MB)"
if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    apt_install python3-venv
fi
rm -f "$environment/.stamp"
python3 -m venv --clear "$environment"
"$environment/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --requirement "$pins" \
    || fail 'the Python packages could not be installed' "Check the network and pip's configuration; the versions are in $pins."
# These programs come inside their packages, not as scripts.
ln -sf "$("$environment/bin/python" -c 'import pathlib, rotel; print(pathlib.Path(rotel.__file__).parent / "rotel-agent")')" "$environment/bin/rotel-agent"
ln -sf "$("$environment/bin/python" -c 'import pathlib, osmem_server; print(pathlib.Path(osmem_server.__file__).parent / "bin" / "osmem-server")')" "$environment/bin/osmem-server"

for program in secantusd-py weed rotel-agent osmem-server; do
    [ -x "$environment/bin/$program" ] || fail "program \"$program\" is missing after the installation" "See what the package contains: $environment/bin."
done
printf '%s\n' "$stamp" >"$environment/.stamp"
say "other servers: installed in $environment"
