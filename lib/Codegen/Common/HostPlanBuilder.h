//===- HostPlanBuilder.h - Buffers and launches of a module -----*- C++ -*-===//
//
// Private to lib/Codegen/Common: HostPlan.cpp has arguments, states and scratch memory,
// HostLaunches.cpp the launches of groups and what their kernels are given.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "KernelEmitter.h"

#include "otodus/Codegen/Common/HostPlan.h"

#include "mlir/IR/SymbolTable.h"

namespace otodus {

/// What a value of the host functions is.
struct Binding {
  enum Kind { Weight, Buffer } kind = Buffer;
  std::string weight;         ///< checkpoint name
  int64_t row = -1, rows = 0; ///< one row of a weight [rows, W]; -1: all of it
  int64_t buffer = -1;
  bool updated = false; ///< a state as it is after the call
};

/// Kernels change it in place, one after the other.
inline bool isInPlace(formats::BufferKind kind) {
  return kind == formats::BufferKind::Gradient || kind == formats::BufferKind::StateGradient ||
         kind == formats::BufferKind::Arena;
}

class PlanBuilder {
public:
  PlanBuilder(mlir::ModuleOp module, formats::Program &program)
      : module(module), symbols(module), program(program) {}

  mlir::LogicalResult run();

private:
  mlir::LogicalResult plan(mlir::func::FuncOp function);
  mlir::LogicalResult describe(mlir::func::FuncOp function, mlir::RankedTensorType type,
                               formats::Argument &argument);
  mlir::FailureOr<int64_t> trainingBuffer(mlir::func::FuncOp function, unsigned i,
                                          mlir::RankedTensorType type);
  /// The weights that some function has the gradient of, in the order of the module, and where
  /// they lie in an arena.
  void listParameters();
  /// The index of state `name` in the program. Functions share states by name.
  mlir::FailureOr<int64_t> stateIndex(mlir::func::FuncOp function, unsigned i,
                                      mlir::StringAttr name, mlir::RankedTensorType type);
  /// Kernels write states in place, so a function has to return each as its ops leave it.
  mlir::LogicalResult verifyStates(mlir::func::FuncOp function, mlir::ArrayRef<Binding> results);
  int64_t addBuffer(formats::BufferKind kind, int64_t index, int64_t bytesPerRow = 0,
                    formats::Symbol symbol = formats::Symbol::Rows);
  mlir::LogicalResult expand(mlir::func::FuncOp function, mlir::ArrayRef<Binding> arguments,
                             const std::string &prefix, mlir::SmallVector<Binding> &results);
  mlir::LogicalResult launch(mega::GroupOp group, llvm::DenseMap<mlir::Value, Binding> &values,
                             const std::string &prefix);
  /// Kernels that do the work of the last `groups` launches, with all their buffers.
  mlir::LogicalResult launchJoint(mega::GroupOp group, mlir::DictionaryAttr joint,
                                  const std::string &prefix);
  mlir::LogicalResult launchKernels(mega::GroupOp group, mlir::ArrayAttr kernels,
                                    mlir::ArrayRef<Binding> operands,
                                    mlir::ArrayRef<Binding> results, const std::string &name);
  /// A state belongs to the one op that updates it: kernels write it in place, and a second op
  /// would see it before or after that, depending on how a call is cut.
  mlir::LogicalResult useStates(mega::GroupOp group, mlir::ArrayRef<Binding> operands);
  /// True if the kernels of `group` are for a GPU, whose open chunks lie as rows.
  bool runsOnBlocks(mega::GroupOp group);
  /// Facts about buffers that the ops in a group tell: layouts of states, bounds of inputs.
  mlir::LogicalResult learn(mega::GroupOp group, mlir::ArrayRef<Binding> operands);
  int64_t preparedBuffer(const KernelBuffer &buffer, mlir::ArrayRef<Binding> operands);
  /// Slots by first fit in order of first use: a slot is free again after the last launch that
  /// uses its buffer.
  void shareScratch();

  mlir::ModuleOp module;
  mlir::SymbolTable symbols;
  formats::Program &program;
  formats::Function out;
  std::vector<int64_t> firstUse, lastUse;         ///< launches, per buffer
  llvm::DenseMap<int64_t, int64_t> copies;        ///< of a state, once an op has told
  llvm::SmallDenseSet<int64_t> updated;           ///< buffers of states that an op has written
  llvm::SmallPtrSet<mlir::Operation *, 4> active; ///< callees that are being expanded
  int64_t calls = 0;
};

} // namespace otodus
