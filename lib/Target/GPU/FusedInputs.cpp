//===- FusedInputs.cpp - Activations that a product prepares itself -------===//
//
// A step of one token is a chain of small kernels, each of which costs more to
// start than to run. So the product of one token normalizes and rounds its
// input in every workgroup, to shared memory: some kilobytes from the cache,
// while the first weights are on their way.
//
// Codes, scales and sums are those of quantizeKernel(); the sum of squares of a
// norm is added up in another order than by rmsNormKernel().
//
//===----------------------------------------------------------------------===//
#include "Kernels.h"

using namespace mlir;
using namespace mlir::qc;
using mlir::qc::gpu::emitInt8Scale;
using mlir::qc::gpu::GPUBuilder;
using mlir::qc::gpu::Int8Scale;
using mlir::qc::gpu::Kernel;
using mlir::qc::gpu::KernelContext;
using mlir::qc::gpu::warpThreads;

/// Vectors that a thread keeps in registers.
static constexpr int64_t mostVectors = 8;

/// Threads that share a block: as many as leave none idle, but not less than
/// eight. Sums within a thread are free, exchanges are not.
static int64_t lanesOf(const ActivationBlocks &layout, int64_t threads) {
  int64_t lanes = 8;
  while (2 * lanes <= warpThreads && 2 * lanes * layout.blocks <= threads)
    lanes *= 2;
  return std::min(lanes, layout.blockK / 4);
}

bool mlir::qc::gpu::canQuantizeInProduct(const ActivationBlocks &layout) {
  // Four inputs a lane, a block in whole groups of lanes.
  return layout.paddedBlockK == layout.blockK &&
         layout.blocks * layout.blockK == layout.k && layout.blockK >= 16 &&
         (layout.blockK % (4 * warpThreads) == 0 ||
          (llvm::isPowerOf2_64(layout.blockK))) &&
         layout.blockK <= 4 * 8 * mostVectors &&
         // Codes, scales and sums in shared memory, with room for partial sums.
         layout.k + 8 * layout.blocks <= 32 << 10;
}

namespace {
/// The input in vectors of four, shared out to the threads.
class Input {
public:
  Input(GPUBuilder &b, const ActivationBlocks &layout)
      : b(b), layout(layout), lanes(lanesOf(layout, b.threads)),
        perLane(layout.blockK / (4 * lanes)), perRound(b.threads / lanes),
        lane(b.rem(b.thread(), lanes)) {}

  int64_t numRounds() const {
    return (layout.blocks + perRound - 1) / perRound;
  }
  /// Whether a thread can have all of its vectors at once.
  bool isShort() const { return numRounds() * perLane <= mostVectors; }
  /// The block of this thread's lanes in a round; beyond the last one: the
  /// last.
  Value block(Value round) {
    Value own = b.add(b.mul(round, perRound), b.div(b.thread(), lanes));
    return isWhole() ? own : b.min(own, b.index(layout.blocks - 1));
  }
  bool isWhole() const { return layout.blocks % perRound == 0; }
  Value isValid(Value round) {
    return b.less(b.add(b.mul(round, perRound), b.div(b.thread(), lanes)),
                  layout.blocks);
  }
  /// Word of the codes of vector i.
  Value word(Value block, int64_t i) {
    return b.add(b.add(b.mul(block, layout.blockK / 4), i * lanes), lane);
  }
  SmallVector<Value> load(Value from, Value round) {
    Value own = block(round);
    SmallVector<Value> values;
    for (int64_t i = 0; i < perLane; ++i) {
      Value four = b.loadWide(from, b.mul(word(own, i), 4), 4);
      for (int64_t j = 0; j < 4; ++j)
        values.push_back(b.element(four, j));
    }
    return values;
  }
  /// init + the squares of a round.
  Value squares(Value round, ArrayRef<Value> values, Value init) {
    Value sum = init;
    for (Value v : values)
      sum = b.fma(v, v, sum);
    return isWhole() ? sum : b.select(isValid(round), sum, init);
  }
  /// 1 / root of the mean square of all inputs, from the sums of the threads.
  Value normFactor(Value squares, double eps);
  void quantize(Value round, ArrayRef<Value> values, ValueRange outputs);

  GPUBuilder &b;
  const ActivationBlocks &layout;
  int64_t lanes, perLane, perRound; ///< vectors a lane, blocks a round
  Value lane;
};
} // namespace

Value Input::normFactor(Value squares, double eps) {
  Value sum = b.reduceWarps(squares, b.shared(b.threads / warpThreads),
                            [&](Value a, Value c) { return b.fadd(a, c); });
  Value mean = b.fdiv(sum, b.f32(static_cast<double>(layout.k)));
  return b.fdiv(b.f32(1.0), math::SqrtOp::create(b, b.fadd(mean, b.f32(eps))));
}

/// Writes codes, scales and sums of the blocks of a round.
void Input::quantize(Value round, ArrayRef<Value> values, ValueRange outputs) {
  Value top = b.f32(0.0);
  for (Value value : values)
    top = b.fmax(math::AbsFOp::create(b, value), top);
  top =
      b.reduceLanes(top, lanes, [&](Value a, Value c) { return b.fmax(a, c); });
  Int8Scale scale = emitInt8Scale(b, top);
  Value total = b.f32(0.0);
  SmallVector<Value> words;
  for (size_t i = 0; i < values.size(); i += 4)
    words.push_back(emitCodes(b, scale, values.slice(i, 4), total));
  total = b.reduceLanes(total, lanes,
                        [&](Value a, Value c) { return b.fadd(a, c); });
  Value own = block(round);
  auto store = [&] {
    for (auto [i, code] : llvm::enumerate(words))
      b.store(code, outputs[0], word(own, static_cast<int64_t>(i)));
    b.ifThen(b.less(lane, 1), [&] {
      b.store(scale.scale, outputs[1], own);
      b.store(arith::FPToSIOp::create(b, b.getI32Type(), total), outputs[2],
              own);
    });
  };
  if (isWhole())
    store();
  else
    b.ifThen(isValid(round), store);
}

/// Of x, or of its norm, to codes, scales and sums.
static void quantize(GPUBuilder &b, const ActivationBlocks &layout, Value x,
                     Value gamma, double eps, ValueRange outputs) {
  Input input(b, layout);
  int64_t rounds = input.numRounds();
  Value factor;
  auto normalize = [&](SmallVector<Value> &values, ArrayRef<Value> gammas) {
    for (auto [value, g] : llvm::zip_equal(values, gammas))
      value = b.fmul(b.fmul(value, factor), g);
  };
  if (input.isShort()) {
    // All loads are under way before the first number is needed.
    SmallVector<SmallVector<Value>> all, gammas;
    for (int64_t round = 0; round < rounds; ++round)
      all.push_back(input.load(x, b.index(round)));
    for (int64_t round = 0; gamma && round < rounds; ++round)
      gammas.push_back(input.load(gamma, b.index(round)));
    if (gamma) {
      Value squares = b.f32(0.0);
      for (auto [round, values] : llvm::enumerate(all))
        squares = input.squares(b.index(static_cast<int64_t>(round)), values,
                                squares);
      factor = input.normFactor(squares, eps);
    }
    for (auto [i, values] : llvm::enumerate(all)) {
      Value round = b.index(static_cast<int64_t>(i));
      if (gamma)
        normalize(values, gammas[i]);
      input.quantize(round, values, outputs);
    }
  } else {
    if (gamma) {
      Value squares =
          b.loop(b.index(0), b.index(rounds), 1, b.f32(0.0),
                 [&](Value round, ValueRange sum) -> SmallVector<Value> {
                   return {input.squares(round, input.load(x, round), sum[0])};
                 })[0];
      factor = input.normFactor(squares, eps);
    }
    b.loop(b.index(0), b.index(rounds), 1, [&](Value round) {
      SmallVector<Value> values = input.load(x, round);
      if (gamma)
        normalize(values, input.load(gamma, round));
      input.quantize(round, values, outputs);
    });
  }
}

SmallVector<Value>
mlir::qc::gpu::emitQuantizedInput(GPUBuilder &b, const ActivationBlocks &layout,
                                  Value x, Value gamma, double eps,
                                  int64_t alignment) {
  SmallVector<Value> outputs = {
      b.shared(layout.k / 4, b.getI32Type(), alignment),
      b.shared(layout.blocks), b.shared(layout.blocks, b.getI32Type())};
  quantize(b, layout, x, gamma, eps, outputs);
  b.barrier();
  return outputs;
}

Kernel mlir::qc::gpu::normQuantizeKernel(KernelContext &ctx,
                                         const ActivationBlocks &layout,
                                         double eps) {
  std::string name = llvm::formatv("norm_quantize_{0}_{1}_{2}", layout.k,
                                   layout.blockK, bitsOf(eps));
  return getOrCreateKernel(
      ctx, name,
      {ctx.floats(), ctx.floats(), ctx.words(), ctx.floats(), ctx.words()},
      [&](GPUBuilder &b, ValueRange args) {
        quantize(b, layout, args[0], args[1], eps, args.drop_front(2));
      },
      ctx.maxThreads,
      [&](GPUBuilder &b, ValueRange args) {
        emitPrefetchVector(b, args[1], layout.k * 4);
      });
}
