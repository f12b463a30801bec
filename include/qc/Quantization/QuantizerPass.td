//===- QuantizerPass.td - Base of the methods' passes -------*- tablegen -*-===//
#ifndef QC_QUANTIZATION_QUANTIZERPASS_TD
#define QC_QUANTIZATION_QUANTIZERPASS_TD

include "mlir/Pass/PassBase.td"

/// A pass over the module that runs one method. `methodOptions` come before
/// those of the driver (DriverOptions in Driver.h).
class QuantizerPass<string flag, list<Option> methodOptions>
    : Pass<flag, "::mlir::ModuleOp"> {
  let options = methodOptions # [
    Option<"targets", "targets", "std::string", "\"linear\"",
           "Weights to quantize: linear (of linear layers only) or all (also embedding and head)">,
    Option<"include", "include", "std::string", "\"\"",
           "Only weights whose name matches this regular expression">,
    Option<"exclude", "exclude", "std::string", "\"\"",
           "No weights whose name matches this regular expression">,
    Option<"outputDir", "output-dir", "std::string", "\"\"",
           "Folder for the quantized weights (default: the current one)">,
    Option<"threads", "threads", "unsigned", "0",
           "Threads; 0: one for each core">,
    Option<"report", "report", "bool", "false",
           "A remark with the relative error of each weight">,
    Option<"verbose", "verbose", "bool", "false",
           "Progress, a line for each weight, even without a terminal">,
  ];
  let dependentDialects = ["::mlir::qc::QCDialect"];
}

#endif // QC_QUANTIZATION_QUANTIZERPASS_TD
