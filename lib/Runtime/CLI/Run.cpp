//===- Run.cpp - main() of a compiled model -------------------------------===//
#include "Run.h"
#include "Program.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <new>

using namespace qc::rt;

static int runCommand(int argc, char **argv, const std::string &name) {
  Options options;
  std::string error;
  if (!parseOptions(argc, argv, options, error)) {
    std::fprintf(stderr, "%s: error: %s\n", name.c_str(), error.c_str());
    return UsageError;
  }
  if (options.help) {
    std::fputs(helpText(), stdout);
    return Success;
  }
  if (options.version) {
    std::printf("%s, compiled by qc for %s, ABI %u\n", activeModel().name,
                activeModel().target_cpu, activeModel().abi_version);
    return Success;
  }
  return Program(options, name).run(executablePath(argv[0]));
}

int qc::rt::runProgram(int argc, char **argv) {
  std::string name = argc > 0 ? argv[0] : "model";
  name = name.substr(name.find_last_of('/') + 1);
  std::signal(SIGXFSZ, SIG_IGN); // a size limit is an error, not a death
  int code;
  try {
    code = runCommand(argc, argv, name);
  } catch (const std::bad_alloc &) {
    std::fprintf(stderr, "%s: error: out of memory\n", name.c_str());
    return OutOfResources;
  } catch (const std::exception &exception) {
    std::fprintf(stderr, "%s: error: %s\n", name.c_str(), exception.what());
    return Failure;
  }
  // A full disk under a redirected output is an error, not a short text.
  if (code == Success && (std::fflush(stdout) != 0 || std::ferror(stdout))) {
    int number = errno;
    std::fprintf(stderr, "%s: error: cannot write the output: %s\n",
                 name.c_str(), std::strerror(number));
    return writeFailureCode(number);
  }
  return code;
}
