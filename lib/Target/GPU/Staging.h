//===- Staging.h - Pipelines through shared memory --------------*- C++ -*-===//
//
// While a workgroup multiplies what lies in shared memory, cp.async (PTX ISA,
// "Data Movement: Asynchronous copy") fetches what comes next. K is taken in
// stages: a stage is a whole block of the activations or an equal part of one,
// and consists of
//   the chunks of every warp's row block, behind the parameters of their K
//     block,
//   the activations of a tile of tokens, step by step,
//   scales and sums of the block of the activations, token by token.
// A step is what a warp multiplies at a time: each quarter of a warp (lanes
// with the same number modulo 4) has `own` consecutive chunks.
//
// With `stages` buffers, stages s + 1 to s + stages - 1 are under way while s
// is used.
//
//===----------------------------------------------------------------------===//
#ifndef QC_TARGET_GPU_STAGING_H
#define QC_TARGET_GPU_STAGING_H

#include "Kernels.h"

namespace mlir::qc::gpu {

/// Sizes of the stages of one weight, in words.
struct StagePlan {
  int64_t warps, tokens;
  int64_t own;         ///< chunks of a quarter in a step
  int64_t steps;       ///< of a stage
  int64_t perBlock;    ///< stages of a block of the activations
  int64_t stages;      ///< buffers
  int64_t paramWords;  ///< of a warp's row block
  int64_t spanWords;   ///< chunks of a quarter in a step,
  int64_t spanStride;  ///< and from one quarter to the next
  int64_t stepWords;   ///< of a token in a step,
  int64_t tokenStride; ///< and from one token to the next

  int64_t weightWords() const { return paramWords + steps * 4 * spanStride; }
  int64_t tokenWords() const { return steps * tokens * tokenStride; }
  /// Without the scales.
  int64_t stageWords() const {
    return warps * weightWords() + tokenWords() + tokens;
  }
  int64_t words() const { return stages * stageWords(); }
  int64_t scaleWords() const { return stages * tokens; }

  /// Nothing where the stages do not fit shared memory or their parts are not
  /// made of 16 bytes or of whole steps.
  static std::optional<StagePlan> make(WeightType weight, int64_t own,
                                       int64_t warps, int64_t tokens);
};

/// Shared memory of a pipeline, or of several one after the other.
struct StageBuffers {
  Value words;  ///< i32
  Value scales; ///< f32
};

/// Emits the copies; all threads of the workgroup call each function.
class Staging {
public:
  /// `blocks`: byte offset of the first K block of the warp's row block in
  /// `blob`; `activations`: codes, scales and sums, see quantizeKernel().
  Staging(GPUBuilder &b, const StagePlan &plan, WeightType weight,
          const StageBuffers &buffers, Value blob, Value blocks,
          ValueRange activations, Value firstToken);

  /// Begins a pipeline.
  void begin();
  /// Waits for stage `stage` (index), begins to fetch the one that takes the
  /// place of the stage before it.
  void advance(Value stage);
  /// Byte offset in the buffer of the warp's block parameters, which the spans
  /// of its first step follow.
  Value weights(Value stage);
  /// First word in the buffer of token `token` of the tile in the first step;
  /// tokens * tokenStride from one step to the next.
  Value token(Value stage, Value token);
  /// Of token `token` in the buffer of the scales.
  Value scale(Value stage, Value token);
  /// Word in the buffer.
  Value sum(Value stage, Value token);

private:
  void fetch(Value stage);
  /// `count` pieces of `words` words, piece `from(i)` to `to(i)`, words, shared
  /// out over `threads` threads of which the caller is `thread`.
  void copy(Value source, Value to, int64_t words, int64_t count, Value thread,
            int64_t threads,
            function_ref<std::pair<Value, Value>(Value)> addresses);
  Value slot(Value stage) { return b.rem(stage, plan.stages); }
  int64_t numStages() const { return input.blocks * plan.perBlock; }

  GPUBuilder &b;
  StagePlan plan;
  ::qc::PackedLayout layout;
  mlir::qc::ActivationBlocks input;
  StageBuffers buffers;
  Value blob, blocks;
  ValueRange activations;
  Value firstToken, warp, lane;
};

} // namespace mlir::qc::gpu

#endif // QC_TARGET_GPU_STAGING_H
