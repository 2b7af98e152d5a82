//===- ModelCompiler.h - What opening a model or a trainer begins with -----===//
//
// With MLIR: for the files of the driver that compile.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "OpenModel.h"

#include "otodus/Pipelines/Compiler.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/SourceMgr.h"

#include <string>
#include <vector>

namespace otodus::driver {

/// A context with everything registered, whose errors go to stderr with the source line.
class Compiler {
public:
  Compiler();

  mlir::MLIRContext &context() { return context_; }

  /// The module of a file; "-" is stdin.
  Result<mlir::OwningOpRef<mlir::ModuleOp>> parse(const std::string &path);
  /// `name` stands in messages.
  Result<mlir::OwningOpRef<mlir::ModuleOp>> parseText(const std::string &text,
                                                      const std::string &name);
  /// `tensors`: names that the checkpoint has.
  Result<mlir::OwningOpRef<mlir::ModuleOp>> importDirectory(const formats::ModelConfig &config,
                                                            const std::string &dtype,
                                                            const std::string &weightsFile,
                                                            std::vector<std::string> tensors = {},
                                                            bool training = false);

private:
  llvm::SourceMgr sources_;
  mlir::MLIRContext context_;
  mlir::SourceMgrDiagnosticHandler handler_;
};

CompileOptions compileOptions(const ModelFlags &flags, const std::string &target);
/// Reads --chip-file, once for each file.
Status addChipFile(const ModelFlags &flags);
/// `flags` with a bare "cuda" as the chip that is there.
Result<ModelFlags> resolveTarget(ModelFlags flags);
/// How `target` is opened; "" for what an artefact has code for.
runtime::DeviceOptions deviceOptions(const ModelFlags &flags, const std::string &target);
/// f32 or bf16; "" is f32.
Result<std::string> checkDtype(const std::string &dtype);

} // namespace otodus::driver
