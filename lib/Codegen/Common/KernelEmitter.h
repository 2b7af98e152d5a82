//===- KernelEmitter.h - From a group to kernel functions ------------------===//
//
// Private to lib/Codegen. A group of mega ops becomes a function
//
//   func @name(%buffer0: memref<?xT>, …, %batch: index, %length: index, %rows: index)
//
// with one scf.forall as its grid. Attributes of the function say what the runtime must
// bind and how large the grid is; lib/Codegen/Common/HostPlan.cpp reads them:
//
//   mega.buffers = [{kind = "operand", index = 0}, {kind = "panels", sources = [1], …}, …]
//   mega.grid    = [[symbol, factor, divisor], …]      formats::Extent
//   mega.row_tile = R
//
//===----------------------------------------------------------------------===//

#pragma once

#include "BlockedLayout.h"

#include "mega/IR/MegaOps.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"

#include <functional>

namespace otodus {

/// What a kernel parameter is bound to.
struct KernelBuffer {
  /// "operand": activation, state, tokens or position, as it lies in memory;
  /// "result": the same for a result; otherwise a prepared weight:
  /// "vector", "table", "panels", "transposed", "cema", "cema_gradient", "rope", "lanes".
  std::string kind;
  int64_t index = 0;                     ///< operand or result number
  llvm::SmallVector<int64_t> sources;    ///< operand numbers of a prepared weight
  formats::Width rows{1, 0}, columns{1, 0};
  formats::DType dtype = formats::DType::F32;

  mlir::DictionaryAttr toAttr(mlir::MLIRContext *context) const;
  /// Nothing if the attribute is none of `toAttr`, as in a module written by hand.
  static std::optional<KernelBuffer> fromAttr(mlir::DictionaryAttr attr);
  bool operator==(const KernelBuffer &) const;
};

/// One kernel function under construction.
class KernelEmitter {
public:
  /// `rowTile` is R for row kernels, 0 for kernels that see steps.
  KernelEmitter(mega::GroupOp group, mlir::ModuleOp module, const std::string &name,
                int64_t rowTile);

  /// The parameter for `buffer`, added on first use: a memref<?xT>.
  mlir::Value parameter(const KernelBuffer &buffer, mlir::Type element);

  /// Parameter bound to the group operand that block argument `value` stands for.
  mlir::Value operandParameter(mlir::Value value);
  mlir::Value resultParameter(int64_t index, mlir::Type element);

  /// Operand number of `value`, a block argument of the group's body; -1 for others.
  int64_t operandNumber(mlir::Value value) const;

  /// Writes attributes and the terminator. `grid`: see formats::Extent.
  void finish(llvm::ArrayRef<formats::Extent> grid);

  mega::GroupOp group;
  mlir::func::FuncOp function;
  mlir::OpBuilder b;
  mlir::Location loc;
  KernelFrame frame;

private:
  std::vector<KernelBuffer> buffers;
};

/// How the matrix of a product lies in memory (formats::PrepareKind).
enum class MatrixLayout { Panels, Table };

/// Emits the kernel(s) of a group of the given kind; each returns the functions made.
/// Failure: a diagnostic on the op that has no form.
mlir::FailureOr<mlir::func::FuncOp>
emitRowsKernel(mega::GroupOp group, mlir::ModuleOp module, const std::string &name,
               int64_t rowTile, MatrixLayout matrices = MatrixLayout::Panels);
mlir::FailureOr<mlir::func::FuncOp> emitStreamKernel(mega::GroupOp group, mlir::ModuleOp module,
                                                     const std::string &name);
mlir::FailureOr<mlir::func::FuncOp> emitGatherKernel(mega::GroupOp group, mlir::ModuleOp module,
                                                     const std::string &name);
mlir::FailureOr<mlir::func::FuncOp> emitAppendKernel(mega::GroupOp group, mlir::ModuleOp module,
                                                     const std::string &name);
mlir::FailureOr<mlir::func::FuncOp> emitAttentionKernel(mega::GroupOp group,
                                                        mlir::ModuleOp module,
                                                        const std::string &name,
                                                        int64_t rowTile);
/// One op of the role Accumulation.
mlir::FailureOr<mlir::func::FuncOp> emitAccumulationKernel(mega::GroupOp group,
                                                           mlir::ModuleOp module,
                                                           const std::string &name);

/// What a target writes its own way. Row-wise groups are the same everywhere but for the layout of
/// matrices.
struct KernelEmitters {
  using Emit = mlir::FailureOr<mlir::func::FuncOp> (mega::GroupOp, mlir::ModuleOp,
                                                    const std::string &name);
  using EmitForRows = mlir::FailureOr<mlir::func::FuncOp> (mega::GroupOp, mlir::ModuleOp,
                                                           const std::string &name,
                                                           int64_t rowTile);
  std::function<Emit> stream, gather, accumulation;
  /// Null where attention itself adds new keys and values to the open chunk.
  std::function<Emit> append;
  std::function<EmitForRows> attention;
  MatrixLayout matrices = MatrixLayout::Panels;
};

/// Writes a kernel function for every group and row tile of `module`, and names them on the
/// groups.
mlir::LogicalResult buildKernels(mlir::ModuleOp module, const KernelEmitters &emitters);

} // namespace otodus
