//===- qc-import - Turns a model folder into IR ---------------------------===//
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "qc/Frontend/Import.h"
#include "qc/Frontend/OutputFile.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"
#include <csignal>

using namespace mlir;
using namespace mlir::qc;
namespace cl = llvm::cl;

static cl::OptionCategory category("qc-import options");

static cl::opt<std::string> input(cl::Positional, cl::Required,
                                  cl::desc("<model folder>"),
                                  cl::cat(category));
static cl::opt<std::string> output("o", cl::desc("Output file ('-': stdout)"),
                                   cl::value_desc("file"), cl::init("-"),
                                   cl::cat(category));
static cl::opt<bool>
    noTokenizer("no-tokenizer",
                cl::desc("Leave the tokenizer out: the program takes and "
                         "gives token ids"),
                cl::cat(category));
static cl::opt<bool> noCheck("no-check",
                             cl::desc("Do not read all weights in search of "
                                      "NaN and infinity"),
                             cl::cat(category));

static int fail(const Twine &message) {
  llvm::errs() << "qc-import: error: " << message << "\n";
  return 1;
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  std::signal(SIGXFSZ, SIG_IGN); // a size limit is an error, not a death
  cl::HideUnrelatedOptions(category);
  std::string parseErrors;
  llvm::raw_string_ostream parseStream(parseErrors);
  if (!cl::ParseCommandLineOptions(
          argc, argv,
          "Imports a Hugging Face model folder as readable IR; the weights "
          "stay in their\nsafetensors files.\n\n"
          "  qc-import examples/stories260K -o model.mlir\n",
          &parseStream)) {
    fail(StringRef(parseErrors).ltrim().split('\n').first);
    return 2;
  }
  MLIRContext context;
  context.getDiagEngine().registerHandler([](Diagnostic &diagnostic) {
    bool warning = diagnostic.getSeverity() == DiagnosticSeverity::Warning;
    llvm::errs() << "qc-import: " << (warning ? "warning: " : "error: ")
                 << diagnostic << "\n";
    return success();
  });
  ImportOptions options;
  options.tokenizer = !noTokenizer;
  options.checkValues = !noCheck;
  llvm::Expected<OwningOpRef<ModuleOp>> module =
      importModel(context, input, options);
  if (!module)
    return fail(llvm::toString(module.takeError()));
  std::string text;
  llvm::raw_string_ostream(text) << **module << "\n";
  if (llvm::Error error = ::qc::writeFile(output, text))
    return fail(llvm::toString(std::move(error)));
  return 0;
}
