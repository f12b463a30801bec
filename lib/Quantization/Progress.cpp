//===- Progress.cpp - One line about a long run ---------------------------===//
#include "Progress.h"

#include "qc/Frontend/Json.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/Process.h"

using namespace mlir;
using namespace mlir::qc;

Progress::Progress(StringRef method, size_t weights, int64_t elements,
                   bool verbose)
    : method(method), weights(weights), elements(elements), verbose(verbose),
      terminal(llvm::sys::Process::StandardErrIsDisplayed()),
      start(std::chrono::steady_clock::now()) {}

Progress::~Progress() {
  if (terminal && !verbose && done != 0)
    llvm::errs() << "\r\033[K";
}

void Progress::finish(StringRef weight, int64_t size, double error,
                      bool resumed) {
  ++done;
  doneElements += size;
  if (!resumed)
    worked += size;
  if (!terminal && !verbose)
    return;
  // Time per element of what was done here, times what is left.
  std::chrono::duration<double> elapsed =
      std::chrono::steady_clock::now() - start;
  auto left = static_cast<int64_t>(
      worked == 0 ? 0
                  : elapsed.count() / static_cast<double>(worked) *
                        static_cast<double>(elements - doneElements));
  bool rewrite = terminal && !verbose;
  llvm::errs() << (rewrite ? "\r\033[K" : "") << method << ' ' << done << '/'
               << weights << ' ' << weight << llvm::format(" error %.4f", error)
               << (resumed ? " (from the interrupted run)" : "")
               << llvm::format(", %d:%02d left", static_cast<int>(left / 60),
                               static_cast<int>(left % 60));
  if (!rewrite)
    llvm::errs() << '\n';
}
