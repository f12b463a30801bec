"""Products of a quantized matrix as other libraries compute them: y = x W^T for
W of (rows, columns) and x of (tokens, columns).

A peer packs a weight, multiplies by what it packed, and says what the packed
weight means, so that a wrong call is found before it is timed.
"""

import importlib
import os

GROUP = 128  # inputs that share a scale, in int4
NF4_BLOCK = 64  # bitsandbytes' default, its scales are f32


class Absent(Exception):
    """Not on this machine."""


class Peer:
    name, format = "", ""
    # In numbers of tokens.
    least, most = 1, None
    dtype = "float16"  # of the activations

    def __init__(self, torch):
        """Raises Absent."""
        self.torch = torch

    def takes(self, tokens):
        return self.least <= tokens and (self.most is None or tokens <= self.most)

    def pack(self, weight):
        """`weight`: float16 (rows, columns). The tensors that a product reads."""
        raise NotImplementedError

    def meaning(self, packed, weight):
        """float32 (rows, columns) that `packed`, made of `weight`, stands for."""
        raise NotImplementedError

    def activations(self, x):
        """What run() takes, of float32 (tokens, columns)."""
        return x.to(getattr(self.torch, self.dtype))

    def run(self, packed, x):
        raise NotImplementedError

    def version(self):
        return self.torch.__version__


class TorchF16(Peer):
    name = "torch f16"
    format = "f16"

    def pack(self, weight):
        return (weight,)

    def meaning(self, packed, weight):
        return weight.float()

    def run(self, packed, x):
        return self.torch.nn.functional.linear(x, packed[0])


class Int4Groups(Peer):
    """Codes of four bits with a scale a group."""

    def quantize(self, weight):
        """Codes from 0 (-8 scales), and the scales, (rows, columns / GROUP, 1)."""
        torch, (rows, columns) = self.torch, weight.shape
        groups = weight.float().reshape(rows, columns // GROUP, GROUP)
        scales = groups.abs().amax(-1, keepdim=True) / 7
        scales = scales.to(getattr(torch, self.dtype))
        codes = (groups / scales.float()).round().clamp(-8, 7) + 8
        return codes.to(torch.uint8), scales

    def meaning(self, packed, weight):
        codes, scales = self.quantize(weight)
        return ((codes.float() - 8) * scales.float()).reshape(weight.shape)


class TorchInt4(Int4Groups):
    """tinygemm's kernels: bf16 activations, groups of 128."""

    name = "torch int4"
    format = "int4 group 128, x bf16"
    dtype = "bfloat16"

    def pack(self, weight):
        torch = self.torch
        codes, scales = self.quantize(weight)
        codes = codes.reshape(weight.shape)
        pairs = codes[:, ::2] << 4 | codes[:, 1::2]
        # (code - 8) scale + zero
        scales_and_zeros = torch.cat([scales, torch.zeros_like(scales)], dim=-1)
        return (
            torch.ops.aten._convert_weight_to_int4pack(pairs.contiguous(), 8),
            scales_and_zeros.transpose(0, 1).contiguous(),
        )

    def run(self, packed, x):
        codes, scales_and_zeros = packed
        return self.torch.ops.aten._weight_int4pack_mm(
            x, codes, GROUP, scales_and_zeros
        )


class Int8Rows(Peer):
    """Codes of int8 with a scale a row."""

    def pack(self, weight):
        torch = self.torch
        scales = weight.float().abs().amax(-1, keepdim=True) / 127
        codes = (weight.float() / scales).round().to(torch.int8)
        return codes, scales.squeeze(-1)

    def meaning(self, packed, weight):
        codes, scales = packed
        return codes.float() * scales.float()[:, None]


class TorchInt8Weights(Int8Rows):
    """A warp an output: not made for prompts."""

    name = "torch int8 weights"
    format = "int8 rows, x bf16"
    most = 16
    dtype = "bfloat16"

    def pack(self, weight):
        codes, scales = super().pack(weight)
        return codes, scales.to(self.torch.bfloat16)

    def run(self, packed, x):
        return self.torch.ops.aten._weight_int8pack_mm(x, *packed)


class TorchInt8(Int8Rows):
    """cuBLASLt's product of int8 by int8 alone: no scales, codes of x given."""

    name = "torch int8 product"
    format = "int8, x int8, no scales"
    least = 17

    def activations(self, x):
        return (x * 127 / x.abs().amax()).round().to(self.torch.int8)

    def meaning(self, packed, weight):
        return packed[0].float()

    def run(self, packed, x):
        return self.torch._int_mm(x, packed[0].t())


class Library(Peer):
    """Of another Python package."""

    package = ""

    def __init__(self, torch):
        super().__init__(torch)
        try:
            self.library = importlib.import_module(self.package)
        except ModuleNotFoundError as reason:
            raise Absent(f"no {reason.name}") from None
        except Exception as reason:  # noqa: BLE001: it is there and does not load
            text = (str(reason) or type(reason).__name__).splitlines()[0]
            raise Absent(f"{self.package} does not load: {text}") from None

    def version(self):
        return self.library.__version__


class BitsAndBytes(Library):
    package = "bitsandbytes"


class NF4(BitsAndBytes):
    name = "bitsandbytes NF4"
    format = "NF4 group 64, x f16"

    def pack(self, weight):
        codes, state = self.library.functional.quantize_4bit(
            weight, blocksize=NF4_BLOCK, quant_type="nf4"
        )
        self.code = state.code
        return codes, state.absmax

    def state(self, packed, columns):
        rows = packed[0].numel() * 2 // columns
        return self.library.functional.QuantState(
            absmax=packed[1],
            shape=self.torch.Size((rows, columns)),
            code=self.code,
            blocksize=NF4_BLOCK,
            quant_type="nf4",
            dtype=self.torch.float16,
        )

    def meaning(self, packed, weight):
        state = self.state(packed, weight.shape[1])
        return self.library.functional.dequantize_4bit(packed[0], state).float()

    def run(self, packed, x):
        state = self.state(packed, x.shape[-1])
        return self.library.matmul_4bit(x, packed[0], quant_state=state)


class NF4Vector(NF4):
    """The older kernel of one token."""

    name = "bitsandbytes NF4 gemv"
    most = 1

    def run(self, packed, x):
        state = self.state(packed, x.shape[-1])
        return self.library.functional.gemv_4bit(x, packed[0], state=state)


class BitsAndBytesInt8(Int8Rows, BitsAndBytes):
    """LLM.int8() without outliers: x is rounded to int8, too."""

    name = "bitsandbytes int8"
    format = "int8 rows, x f16 rounded to int8"

    def pack(self, weight):
        codes, scales = super().pack(weight)
        return codes, (scales * 127).float()  # its statistics are maxima

    def meaning(self, packed, weight):
        return super().meaning((packed[0], packed[1] / 127), weight)

    def run(self, packed, x):
        ops = self.torch.ops.bitsandbytes
        codes, maxima, _ = ops.int8_vectorwise_quant.default(x)
        return ops.int8_scaled_mm.default(
            codes, packed[0], maxima, packed[1], dtype=self.torch.float16
        )


class GemLite(Int4Groups, Library):
    """Triton kernels with the constants that it brings for the H100; for another
    device it measures its own at the first call of each shape."""

    name = "gemlite int4"
    format = "int4 group 128, x f16"
    package = "gemlite"

    def __init__(self, torch):
        super().__init__(torch)
        folder = os.path.dirname(self.library.__file__)
        if "H200" in torch.cuda.get_device_name(0):  # the same multiprocessors
            self.library.load_config(os.path.join(folder, "configs", "h100.json"))

    def pack(self, weight):
        codes, scales = self.quantize(weight)
        rows, columns = weight.shape
        half = self.library.DType.FP16
        layer = self.library.GemLiteLinear(
            4, group_size=GROUP, in_features=columns, out_features=rows,
            input_dtype=half, output_dtype=half,
        )  # fmt: skip
        layer.pack(codes.reshape(rows, columns), scales.reshape(rows, -1), 8, None)
        self.meta = layer.get_meta_args()
        return tuple(t.data for t in layer.get_tensor_args())

    def run(self, packed, x):
        return self.library.forward_functional(x, None, list(packed), self.meta)


PEERS = [TorchF16, TorchInt4, GemLite, TorchInt8Weights, TorchInt8, NF4, NF4Vector,
         BitsAndBytesInt8]  # fmt: skip
