//===- SelfPath.cpp - Where the running code's file is --------------------===//
#include "qc/Runtime/Artefact/Payload.h"

#include <dlfcn.h>
#include <sys/auxv.h>
#include <unistd.h>

using namespace qc::rt;

static std::string programLink() {
  char buffer[4096];
  ssize_t length = readlink("/proc/self/exe", buffer, sizeof buffer);
  if (length <= 0 || static_cast<size_t>(length) >= sizeof buffer)
    return "";
  return std::string(buffer, static_cast<size_t>(length));
}

std::string qc::rt::executablePath(const char *argv0) {
  if (std::string path = programLink(); !path.empty())
    return path;
  // The kernel passes the name it executed; it needs no /proc.
  if (auto name = reinterpret_cast<const char *>(getauxval(AT_EXECFN)))
    return name;
  return argv0 ? argv0 : "";
}

std::string qc::rt::objectPath(const void *address) {
  // The dynamic linker names the executable as argv[0] or not at all.
  Dl_info info = {};
  if (dladdr(address, &info) && info.dli_fname && info.dli_fname[0] == '/')
    return info.dli_fname;
  std::string name = info.dli_fname ? info.dli_fname : "";
  auto program = reinterpret_cast<const char *>(getauxval(AT_EXECFN));
  if (name.empty() || (program && name == program))
    return executablePath(nullptr);
  return name;
}
