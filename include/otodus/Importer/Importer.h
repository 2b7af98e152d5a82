//===- Importer.h - A configuration becomes a module -----------------------===//

#pragma once

#include "otodus/Formats/ModelConfig.h"
#include "otodus/Formats/Status.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

#include <string>

namespace otodus {

struct ImportOptions {
  /// "f32" or "bf16": element type of activations and of the matrices wv wz wr wh1 wh2 fc* embed
  /// output; everything else is f32.
  std::string dtype = "f32";
  /// Checkpoint the weights will come from; recorded in the module. Looked at only for optional
  /// tensors (rope.freqs, prior_*). "" if there is none.
  std::string weightsFile;
  /// Tensors that exist, for checkpoints that are not files: overrides `weightsFile`.
  std::vector<std::string> tensors;
  /// The functions of training instead of those of inference.
  bool training = false;
};

/// The model of spec 4 as a module:
///   @layer    one block: x, angles, position, its weights, its states -> x, states
///   @forward  tokens [B, L], position, states -> logits [B, L, Vo], states
///   @prefill  the same with the logits of the last step only, [B, 1, Vo]
/// For training, instead of @forward and @prefill (docs/Training.md):
///   @loss     tokens, targets [B, L], position, states -> nll [B, L], states; it asks for
///             @gradients, which otodus-differentiate makes
///             (with dropout: @loss is without it, and @loss_with_dropout, which also takes
///             row_numbers [B, L] and noise, asks for @gradients)
///   @norm, @adamw   over all parameters
/// Weights are symbols with the checkpoint's names. The configuration must be valid.
/// Code::Usage for an unknown dtype, Code::File if the weights file cannot be read.
Result<mlir::OwningOpRef<mlir::ModuleOp>> importModel(mlir::MLIRContext &context,
                                                      const formats::ModelConfig &config,
                                                      const ImportOptions &options);

} // namespace otodus
