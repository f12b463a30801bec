#!/usr/bin/env bash
# Installs what qc needs on Debian 12 and makes the Python environment .venv.
#
# Does nothing, and needs no network, when everything is there already.
# docs/dependencies.md says why each package is needed.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }
die() { printf 'setup.sh: %s\n' "$*" >&2; exit 1; }

# Build: compiler, linker, CMake, MLIR. Libraries. Tests. Tidiness.
packages=(
  clang-22 lld-22 g++ ninja-build cmake ccache git ca-certificates
  llvm-22-dev llvm-22-tools libmlir-22-dev mlir-22-tools
  nlohmann-json3-dev libpcre2-dev libutf8proc-dev
  libvulkan-dev mesa-vulkan-drivers vulkan-validationlayers spirv-tools
  libgtest-dev libbenchmark-dev libdnnl-dev qemu-user python3 python3-venv
  clang-format-22 clang-tidy-22
)

missing=()
# dpkg-query exits with 1 when it does not know one of them; the loop decides.
installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${packages[@]}" 2>/dev/null || true)
for package in "${packages[@]}"; do
  grep -qx "$package installed" <<<"$installed" || missing+=("$package")
done

if ((${#missing[@]})); then
  step "Installing ${#missing[@]} Debian packages: ${missing[*]}"
  as_root=()
  if ((EUID != 0)); then
    command -v sudo >/dev/null || die "not root and no sudo: as root, run apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 -q)
  # Somebody's broken third-party source is not our business: install decides.
  "${apt[@]}" update || echo "setup.sh: apt-get update failed, continuing with the lists at hand"
  "${apt[@]}" install -y --no-install-recommends "${missing[@]}" ||
    die "apt-get could not install ${missing[*]} (LLVM 22 is in bookworm-security and in trixie)"
else
  step "Debian packages: all ${#packages[@]} installed"
fi

# The environment is made with Debian's Python, whatever else is on PATH.
requirements=python/requirements.txt
stamp=.venv/qc-requirements.txt
if cmp -s "$requirements" "$stamp"; then
  step "Python environment .venv: up to date"
else
  step "Making the Python environment .venv"
  [[ -x .venv/bin/python ]] || /usr/bin/python3 -m venv .venv
  # --no-deps: the file pins all that is imported.
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
    --retries 5 -r "$requirements" || die "pip could not install $requirements"
  cp "$requirements" "$stamp"
fi
