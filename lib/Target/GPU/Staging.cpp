//===- Staging.cpp - Pipelines through shared memory ----------------------===//
#include "Staging.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/NVGPU/IR/NVGPUDialect.h"

using namespace mlir;
using namespace mlir::qc;
using mlir::qc::gpu::StagePlan;
using mlir::qc::gpu::Staging;
using mlir::qc::gpu::warpThreads;

/// Words of 16 bytes, which a thread copies at once.
static constexpr int64_t pieceWords = 4;
/// What every device has for a workgroup without asking, in words.
static constexpr int64_t sharedWords = (48 << 10) / 4;
/// Most features of a stage, if more than a step: enough products to hide the
/// next copies behind.
static constexpr int64_t stageFeatures = 128;

std::optional<StagePlan> StagePlan::make(WeightType weight, int64_t own,
                                         int64_t warps, int64_t tokens) {
  ::qc::PackedLayout layout = weight.getLayout();
  auto input = mlir::qc::ActivationBlocks::get(weight);
  int64_t step = 4 * own * layout.chunkK;
  if (layout.headerBytes % 16 != 0 || layout.rowHeaderBytes % 16 != 0 ||
      layout.blockParamBytes % 16 != 0 || layout.chunkBytes % 16 != 0 ||
      input.paddedBlockK % step != 0 || step % 16 != 0)
    return std::nullopt;
  StagePlan plan{};
  plan.warps = warps;
  plan.tokens = tokens;
  plan.own = own;
  plan.paramWords = layout.blockParamBytes / 4;
  // Lanes of two tokens, or of two groups of four rows, read 16 bytes each at a
  // time; all find them in other banks.
  plan.spanWords = own * layout.chunkBytes / 4;
  plan.spanStride = plan.spanWords + (40 - plan.spanWords % 32) % 32;
  plan.stepWords = step / 4;
  plan.tokenStride = plan.stepWords + (plan.stepWords % 32 == 0 ? 4 : 0);
  int64_t all = input.paddedBlockK / step;
  for (plan.perBlock = 1; plan.perBlock <= all; ++plan.perBlock) {
    plan.steps = all / plan.perBlock;
    if (all % plan.perBlock != 0 ||
        (plan.steps > 1 && plan.steps * step > stageFeatures))
      continue;
    for (plan.stages = 3; plan.stages > 1; --plan.stages)
      if (plan.words() + plan.scaleWords() <= sharedWords)
        return plan;
  }
  return std::nullopt;
}

Staging::Staging(GPUBuilder &b, const StagePlan &plan, WeightType weight,
                 const StageBuffers &buffers, Value blob, Value blocks,
                 ValueRange activations, Value firstToken)
    : b(b), plan(plan), layout(weight.getLayout()),
      input(mlir::qc::ActivationBlocks::get(weight)), buffers(buffers),
      blob(blob), blocks(blocks), activations(activations),
      firstToken(firstToken), warp(b.div(b.thread(), warpThreads)),
      lane(b.rem(b.thread(), warpThreads)) {}

Value Staging::weights(Value stage) {
  return b.mul(b.add(b.mul(slot(stage), plan.stageWords()),
                     b.mul(warp, plan.weightWords())),
               4);
}

Value Staging::token(Value stage, Value token) {
  return b.add(b.add(b.mul(slot(stage), plan.stageWords()),
                     plan.warps * plan.weightWords()),
               b.mul(token, plan.tokenStride));
}

Value Staging::scale(Value stage, Value token) {
  return b.add(b.mul(slot(stage), plan.tokens), token);
}

Value Staging::sum(Value stage, Value token) {
  return b.add(b.add(b.mul(slot(stage), plan.stageWords()),
                     plan.stageWords() - plan.tokens),
               token);
}

void Staging::copy(Value source, Value target, int64_t words, int64_t count,
                   Value thread, int64_t threads,
                   function_ref<std::pair<Value, Value>(Value)> addresses) {
  for (int64_t first = 0; first < count; first += threads) {
    Value piece = b.add(thread, first);
    auto one = [&] {
      auto [from, to] = addresses(piece);
      // Only whole 16 bytes can go past the first cache.
      nvgpu::DeviceAsyncCopyOp::create(
          b, nvgpu::DeviceAsyncTokenType::get(b.getContext()), target, to,
          source, from, b.getIndexAttr(words), Value(),
          words == pieceWords ? b.getUnitAttr() : UnitAttr());
    };
    if (first + threads <= count)
      one();
    else
      b.ifThen(b.less(piece, count), one);
  }
}

void Staging::fetch(Value stage) {
  Value block = b.div(stage, plan.perBlock), part = b.rem(stage, plan.perBlock);
  int64_t shared = input.blocks / layout.numBlocks(); // blocks of a K block
  Value params =
      b.add(blocks, b.mul(b.div(block, shared), layout.blockBytes()));
  int64_t count = input.paddedBlockK / layout.chunkK;
  Value chunks = b.add(b.add(params, layout.blockParamBytes),
                       b.mul(b.add(b.mul(b.rem(block, shared), count),
                                   b.mul(part, plan.steps * 4 * plan.own)),
                             layout.chunkBytes));
  Value to = b.div(weights(stage), 4);
  auto wordsOf = [&](Value bytes) { return b.div(bytes, 4); };
  copy(blob, buffers.words, pieceWords, plan.paramWords / pieceWords, lane,
       warpThreads, [&](Value piece) {
         Value word = b.mul(piece, pieceWords);
         return std::pair(b.add(wordsOf(params), word), b.add(to, word));
       });
  int64_t perSpan = plan.spanWords / pieceWords;
  copy(blob, buffers.words, pieceWords, plan.steps * 4 * perSpan, lane,
       warpThreads, [&](Value piece) {
         Value inSpan = b.mul(b.rem(piece, perSpan), pieceWords);
         Value span = b.mul(b.div(piece, perSpan), plan.spanStride);
         return std::pair(
             b.add(wordsOf(chunks), b.mul(piece, pieceWords)),
             b.add(b.add(b.add(to, plan.paramWords), span), inSpan));
       });

  int64_t rowWords = input.blocks * input.paddedBlockK / 4;
  int64_t perStep = plan.stepWords / pieceWords;
  Value inRow = b.add(b.mul(block, input.paddedBlockK / 4),
                      b.mul(part, plan.steps * plan.stepWords));
  Value firstRow = b.add(b.mul(firstToken, rowWords), inRow);
  Value tile = token(stage, b.index(0));
  copy(activations[0], buffers.words, pieceWords,
       plan.steps * plan.tokens * perStep, b.thread(), b.threads,
       [&](Value piece) {
         Value step = b.div(piece, plan.tokens * perStep);
         Value own = b.rem(b.div(piece, perStep), plan.tokens);
         Value word = b.mul(b.rem(piece, perStep), pieceWords);
         Value from = b.add(b.mul(own, rowWords), b.mul(step, plan.stepWords));
         Value row = b.mul(b.div(piece, perStep), plan.tokenStride);
         return std::pair(b.add(b.add(firstRow, from), word),
                          b.add(b.add(tile, row), word));
       });

  // Threads that copy no scale copy a sum.
  auto items = [&](Value first) {
    return [&, first](Value own) {
      Value row = b.mul(b.add(firstToken, own), input.blocks);
      return std::pair(b.add(row, block), b.add(first, own));
    };
  };
  copy(activations[1], buffers.scales, 1, plan.tokens, b.thread(), b.threads,
       items(scale(stage, b.index(0))));
  copy(activations[2], buffers.words, 1, plan.tokens,
       b.rem(b.add(b.thread(), b.threads - plan.tokens % b.threads), b.threads),
       b.threads, items(sum(stage, b.index(0))));
}

void Staging::begin() {
  // Another pipeline may have used the buffers.
  b.barrier();
  for (int64_t stage = 0; stage < plan.stages - 1; ++stage) {
    if (stage < numStages())
      fetch(b.index(stage));
    NVVM::CpAsyncCommitGroupOp::create(b);
  }
}

void Staging::advance(Value stage) {
  // One group was committed for each stage up to the one before the last that
  // is under way, empty or not.
  NVVM::CpAsyncWaitGroupOp::create(
      b, b.getI32IntegerAttr(static_cast<int32_t>(plan.stages - 2)));
  // All copies of this stage are seen, nobody reads the stage before it.
  b.barrier();
  Value next = b.add(stage, plan.stages - 1);
  b.ifThen(b.less(next, numStages()), [&] { fetch(next); });
  NVVM::CpAsyncCommitGroupOp::create(b);
}
