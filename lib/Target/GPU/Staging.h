//===- Staging.h - Pipelines through shared memory --------------*- C++ -*-===//
//
// While a workgroup multiplies what lies in shared memory, cp.async (PTX ISA,
// "Data Movement: Asynchronous copy") fetches what comes next. K is taken in
// stages: of each the chunks of every warp's row block, behind the parameters
// of their K block, and the activations of a tile of tokens. A stage is a whole
// block of the activations or an equal part of one.
//
// With `stages` buffers, stages s + 1 to s + stages - 1 are under way while s
// is used.
//
//===----------------------------------------------------------------------===//
#ifndef QC_TARGET_GPU_STAGING_H
#define QC_TARGET_GPU_STAGING_H

#include "Kernels.h"

namespace mlir::qc::gpu {

/// Sizes of the stages of one weight.
struct StagePlan {
  static constexpr int64_t stages = 3;

  int64_t warps, tokens;
  int64_t chunks;      ///< of a stage
  int64_t perBlock;    ///< stages of a block of the activations
  int64_t weightWords; ///< of a warp's row block
  int64_t tokenWords;  ///< of a token, and from one to the next
  int64_t tokenStride;

  int64_t stageWords() const {
    return warps * weightWords + tokens * tokenStride;
  }
  int64_t words() const { return stages * stageWords(); }

  /// Nothing where the stages do not fit shared memory or their parts are not
  /// made of 16 bytes. `step`: chunks that are multiplied at a time.
  static std::optional<StagePlan> make(WeightType weight, int64_t step,
                                       int64_t warps, int64_t tokens);
};

/// Emits the copies; all threads of the workgroup call each function.
class Staging {
public:
  /// `buffer`: shared words, plan.words() of them or more. `blocks`: byte
  /// offset of the first K block of the warp's row block in `blob`; `codes`:
  /// activations, see quantizeKernel().
  Staging(GPUBuilder &b, const StagePlan &plan, WeightType weight, Value buffer,
          Value blob, Value blocks, Value codes, Value firstToken);

  /// Begins a pipeline.
  void begin();
  /// Waits for stage `stage` (index), begins to fetch the one that takes the
  /// place of the stage before it.
  void advance(Value stage);
  /// Byte offset in the buffer of the warp's block parameters, which its chunks
  /// follow.
  Value weights(Value stage);
  /// First word in the buffer of token `token` of the tile.
  Value token(Value stage, Value token);

private:
  void fetch(Value stage);
  /// `count` pieces of 16 bytes, piece `from(i)` to `to(i)`, words, shared out
  /// over `threads` threads of which the caller is `thread`.
  void copy(Value source, int64_t count, Value thread, int64_t threads,
            function_ref<std::pair<Value, Value>(Value)> addresses);
  Value slot(Value stage);
  int64_t numStages() const { return input.blocks * plan.perBlock; }

  GPUBuilder &b;
  StagePlan plan;
  ::qc::PackedLayout layout;
  mlir::qc::ActivationBlocks input;
  Value buffer, blob, blocks, codes, firstToken, warp, lane;
};

} // namespace mlir::qc::gpu

#endif // QC_TARGET_GPU_STAGING_H
