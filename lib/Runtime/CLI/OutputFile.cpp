//===- OutputFile.cpp - A file that appears whole or not at all -----------===//
#include "OutputFile.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace qc::rt;

/// The temporary file that a signal would leave behind.
static std::atomic<const char *> unfinished{nullptr};

/// Handles a signal once: raised again, it ends the program.
static void removeUnfinished(int signal) {
  if (const char *name = unfinished)
    unlink(name);
  raise(signal);
}

static void catchSignals() {
  struct sigaction action = {}, old = {};
  action.sa_handler = removeUnfinished;
  action.sa_flags = SA_RESETHAND | SA_NODEFER;
  for (int signal : {SIGHUP, SIGINT, SIGTERM})
    if (sigaction(signal, nullptr, &old) == 0 && old.sa_handler == SIG_DFL)
      sigaction(signal, &action, nullptr);
}

OutputFile::OutputFile(const std::string &path)
    : path(path), temporary(path + ".tmp" + std::to_string(getpid())) {
  struct stat info;
  direct = stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode);
  if (direct) {
    fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  } else {
    catchSignals();
    unfinished = temporary.c_str(); // a moment early rather than late
    fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                0666);
    exists = fd >= 0;
  }
  if (fd < 0) {
    fail();
    unfinished = nullptr;
  }
}

OutputFile::~OutputFile() {
  if (fd >= 0)
    close(fd);
  if (exists)
    unlink(temporary.c_str());
  unfinished = nullptr;
}

bool OutputFile::fail() {
  if (message.empty()) {
    code = errno;
    message = "cannot write '" + path + "': " + std::strerror(code);
  }
  return false;
}

bool OutputFile::write(const void *data, size_t size) {
  const char *bytes = static_cast<const char *>(data);
  while (message.empty() && size) {
    ssize_t count = ::write(fd, bytes, size);
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      return fail();
    bytes += count;
    size -= static_cast<size_t>(count);
  }
  return message.empty();
}

bool OutputFile::commit() {
  if (!message.empty())
    return false;
  int descriptor = fd;
  fd = -1;
  // Some file systems report a full disk only here.
  bool synced = fsync(descriptor) == 0 || errno == EINVAL || fail();
  bool closed = close(descriptor) == 0 || fail();
  if (!synced || !closed)
    return false;
  if (direct)
    return true;
  if (std::rename(temporary.c_str(), path.c_str()) != 0)
    return fail();
  exists = false;
  return true;
}
