//===- Ptxas.cpp - The CUDA toolkit's assembler ---------------------------===//
#include "qc/Target/NVPTX/PTX.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
namespace fs = llvm::sys::fs;

std::string mlir::qc::nvptx::findPtxas(llvm::StringRef named) {
  if (!named.empty())
    return fs::can_execute(named) ? named.str() : "";
  if (auto found = llvm::sys::findProgramByName("ptxas"))
    return *found;
  llvm::SmallVector<std::string> folders;
  for (const char *variable : {"CUDA_PATH", "CUDA_HOME"})
    if (const char *value = std::getenv(variable))
      folders.push_back(value);
  folders.push_back("/usr/local/cuda");
  for (const std::string &folder : folders) {
    llvm::SmallString<128> path(folder);
    llvm::sys::path::append(path, "bin", "ptxas");
    if (fs::can_execute(path))
      return std::string(path);
  }
  return "";
}

static llvm::Expected<std::string> readFile(llvm::StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFile(path);
  if (!buffer)
    return llvm::createStringError(buffer.getError(),
                                   "cannot read '" + path + "'");
  return (*buffer)->getBuffer().str();
}

llvm::Expected<mlir::qc::nvptx::Cubin>
mlir::qc::nvptx::assemble(llvm::StringRef ptx, unsigned arch,
                          llvm::StringRef ptxas, llvm::StringRef folder) {
  auto file = [&](llvm::StringRef extension) {
    llvm::SmallString<128> path(folder);
    llvm::sys::path::append(path, "kernels.sm_" + std::to_string(arch) +
                                      extension.str());
    return std::string(path);
  };
  std::string in = file(".ptx"), out = file(".cubin"), log = file(".log");
  {
    std::error_code code;
    llvm::raw_fd_ostream os(in, code);
    if (!code) {
      os << ptx;
      os.close();
      code = os.error();
      os.clear_error();
    }
    if (code)
      return llvm::createStringError(code, "cannot write '" + in + "'");
  }
  std::string archOption = "-arch=sm_" + std::to_string(arch);
  llvm::StringRef arguments[] = {ptxas, "-v", archOption, "-o", out, in};
  std::optional<llvm::StringRef> redirects[] = {std::nullopt, log, log};
  std::string why;
  int status = llvm::sys::ExecuteAndWait(ptxas, arguments, std::nullopt,
                                         redirects, 0, 0, &why);
  auto report = readFile(log);
  if (!report)
    return report.takeError();
  if (status != 0) {
    if (why.empty())
      why = llvm::StringRef(*report).split('\n').first.str();
    return llvm::createStringError(ptxas + " for sm_" + llvm::Twine(arch) +
                                   " failed: " + why);
  }
  auto bytes = readFile(out);
  if (!bytes)
    return bytes.takeError();
  return Cubin{std::move(*bytes), std::move(*report)};
}
