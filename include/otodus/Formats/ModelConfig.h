//===- ModelConfig.h - Hyperparameters and parameters of a Megalodon -------===//
//
// The configuration of spec 1 and the tensors of spec 2 that follow from it.
// Fields have the names of the reference's configuration keys.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/Safetensors.h"
#include "otodus/Formats/Status.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace otodus::formats {

struct TokenizerConfig {
  /// SentencePiece model; relative paths are relative to the configuration's folder.
  /// None: tokens are bytes.
  std::optional<std::string> path;
  int64_t additional_vocab_size = 0;
  bool data_tokenized = false;
};

/// Spec 1. The symbols of the mathematics stand behind each field.
struct ModelConfig {
  int64_t num_layers = 8;         ///< nl
  int64_t model_dim = 1024;       ///< D
  int64_t z_dim = 256;            ///< Z, all heads
  int64_t value_dim = 2048;       ///< E, all heads
  int64_t num_heads = 1;          ///< H
  int64_t ffn_hidden_dim = 2048;  ///< F
  int64_t cema_ndim = 16;         ///< N
  int64_t chunk_size = 2048;      ///< C
  std::optional<std::string> efficient_attn; ///< null, "swift", "fused": the same function
  std::string init_mode = "he";   ///< "he", "bert", "xavier", "gaussian", "none"
  int64_t vocab_size = -1;        ///< V; must be given
  int64_t output_size = -1;       ///< Vo; -1: as vocab_size
  int64_t norm_num_groups = 32;   ///< G
  bool norm_affine = true;        ///< of RMSNorm and LayerNorm only
  double norm_eps = 1e-5;
  std::optional<double> rope_base; ///< null: 10000
  double dropout = 0, hidden_dropout = 0, attention_dropout = 0;
  bool swiglu = false, rescale_nffn = false, scale_emb = false, share_emb = false;
  bool layerwise_ckpt = false;

  TokenizerConfig tokenizer;      ///< beside "model" in the reference's file

  int64_t dz() const { return z_dim / num_heads; }            ///< features of q, k per head
  int64_t dv() const { return value_dim / num_heads; }        ///< features of v per head
  int64_t groupSize() const { return model_dim / norm_num_groups; } ///< dg
  int64_t outputSize() const { return output_size == -1 ? vocab_size : output_size; } ///< Vo
  double ropeBase() const { return rope_base.value_or(10000.0); }

  /// Reads a reference configuration {"model": {...}, "tokenizer": {...}, ...} or a bare
  /// model object. Errors: invalid JSON "file:line:column: ..." (Code::Input); wrong
  /// types, unknown model keys and all broken constraints of spec 1, together in one
  /// message (Code::Input). Other top-level keys (training) are ignored.
  static Result<ModelConfig> parse(std::string_view json, const std::string &filename);
  /// `parse` of a file; Code::File if it cannot be read.
  static Result<ModelConfig> load(const std::string &path);

  /// All broken constraints in one message (Code::Input), or ok: H | Z, H | E, G | D,
  /// dz even, V > 0, dropouts in [0, 1), sizes >= 1, no tensor beyond 2^62 bytes.
  Status validate() const;

  /// Reference layout, {"model": ..., "tokenizer": ..., "model_parallel_size": 1,
  /// "chunk_parallel_size": 1}; `parse` reads it back to the same configuration.
  std::string toJson() const;

  /// Trained numbers, spec 2's formula. The configuration must be valid.
  int64_t parameterCount() const;
};

struct Preset {
  std::string name;   ///< "mega200M"
  ModelConfig config; ///< vocab_size 32000
};

/// The six presets of spec 1.
const std::vector<Preset> &presets();
/// Error Code::Usage that lists the names and suggests the nearest.
Result<ModelConfig> findPreset(std::string_view name);

struct ExpectedTensor {
  std::string name;           ///< state-dict key, spec 2
  std::vector<int64_t> shape;
  bool optional = false;      ///< buffers, and output.output.weight with share_emb
  bool isCount = false;       ///< prior_count: I64; all others floating point
};

/// Everything a checkpoint of `config` may hold, in state-dict order. The configuration
/// must be valid.
std::vector<ExpectedTensor> expectedTensors(const ModelConfig &config);

/// Code::File with one message that lists ALL missing, extra, misshapen and wrongly typed
/// tensors; weights may be F32, BF16, F16 or F64, prior_count I64.
Status checkTensors(const ModelConfig &config, const SafetensorsFile &file);

/// The candidate with the smallest edit distance to `word`, "" if none is near.
std::string nearestWord(std::string_view word, const std::vector<std::string> &candidates);

} // namespace otodus::formats
