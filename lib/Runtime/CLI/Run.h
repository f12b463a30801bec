//===- Run.h - main() of a compiled model -----------------------*- C++ -*-===//
#ifndef QC_RUNTIME_CLI_RUN_H
#define QC_RUNTIME_CLI_RUN_H

namespace qc::rt {

/// Runs the model `qc_model` whose payload is in the running executable;
/// returns the exit code (ExitCode in Options.h). No exception leaves it.
int runProgram(int argc, char **argv);

} // namespace qc::rt

#endif // QC_RUNTIME_CLI_RUN_H
