/* fault_store_vector_x86: stores of vector registers, 1 to 64 bytes.
 *
 * One table for three encodings: what an instruction does depends on opcode map, opcode, mandatory
 * prefix and W, wherever these stand.
 *
 *     SSE   [66 F2 F3] [REX] 0F [38 3A] op         map: by escape bytes
 *     VEX   C5  RvvvvLpp                op         map 1, pp: 0 none, 1 66, 2 F3, 3 F2
 *           C4  RXBmmmmm  WvvvvLpp      op         R, X, B, vvvv stand inverted
 *     EVEX  62  RXBR0mmm  Wvvvv1pp  zLLbVaaa  op   aaa: mask register, 0: no mask
 *
 * An 8-bit displacement counts units of the operand's size in EVEX. Under a mask only some of the
 * elements are stored, and s->lanes says which bytes that are; the others can't even fault.
 *
 * The registers are in the signal frame, in the standard form of the XSAVE area: component 0 and 1
 * as FXSAVE has them, the others where CPUID leaf 13 says. It's asked once.
 *
 *              0       160          512   576               (say) 832     896          1408
 *     area     | x87   | xmm0 - 15  | bv  | 2: ymm0 - 15    | 5: k  | 6: zmm0 - 15  | 7: zmm16 - 31
 *              |       | bits 0-127 |     | bits 128-255    | 0 - 7 | bits 256-511  | all bits
 *                                     bit clear in bv: all zeros, whatever is there
 *
 * ASYNC-SIGNAL-SAFE: fault_store, fault_decode_x86; reads memory that the kernel wrote. The CPUID
 * instruction is slow in a virtual machine, but safe.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fault_store_internal.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

/* ---- registers --------------------------------------------------------------------------- */

enum { SSE = 1, AVX = 2, OPMASK = 5, ZMM_HIGH = 6, ZMM_MORE = 7, COMPONENTS = 8 };
enum { AT_XMM = 160, AT_SOFTWARE = 464, AT_BV = 512 };

static _Atomic uint32_t offsets[COMPONENTS]; /* 0: the CPU has no such thing */
static atomic_int asked;

void pmalloc_store_prepare(void) {
  unsigned highest, b, c, d, size, offset;
  if (atomic_load(&asked))
    return;
  __cpuid(0, highest, b, c, d);
  for (unsigned i = AVX; highest >= 13 && i < COMPONENTS; i++) {
    __cpuid_count(13, i, size, offset, c, d);
    atomic_store(&offsets[i], size ? offset : 0);
  }
  atomic_store(&asked, 1);
}

#ifdef PMALLOC_FAULT_INJECTION
void pmalloc_store_layout(const uint32_t offset[8]) {
  for (unsigned i = 0; i < COMPONENTS; i++)
    atomic_store(&offsets[i], offset ? offset[i] : 0);
  atomic_store(&asked, offset != NULL);
}
#endif

/* n bytes of the register's part that is in this component, zeros where it is in its initial
 * state. 0: the frame does not have it. */
static int component(const ucontext_t *uc, unsigned which, size_t place, void *out, size_t n) {
  const unsigned char *area = (const unsigned char *)uc->uc_mcontext.fpregs;
  struct _fpx_sw_bytes software;
  uint64_t in_use;
  if (!area)
    return 0;
  memcpy(&software, area + AT_SOFTWARE, sizeof software);
  if (software.magic1 != FP_XSTATE_MAGIC1) {
    if (which == SSE) /* a plain FXSAVE area */
      memcpy(out, area + AT_XMM + place, n);
    return which == SSE;
  }
  memcpy(&in_use, area + AT_BV, sizeof in_use);
  size_t offset = which == SSE ? AT_XMM : atomic_load(&offsets[which]);
  if (offset == 0 || offset + place + n > software.xstate_size)
    return 0;
  if (in_use >> which & 1)
    memcpy(out, area + offset + place, n);
  else
    memset(out, 0, n);
  return 1;
}

/* The lowest `size` bytes (16, 32 or 64) of a vector register. */
static int vector_register(const ucontext_t *uc, unsigned number, unsigned size,
                           unsigned char *out) {
  if (number >= 16)
    return component(uc, ZMM_MORE, 64 * (size_t)(number - 16), out, size);
  return component(uc, SSE, 16 * (size_t)number, out, 16) &&
         (size < 32 || component(uc, AVX, 16 * (size_t)number, out + 16, 16)) &&
         (size < 64 || component(uc, ZMM_HIGH, 32 * (size_t)number, out + 32, 32));
}

/* ---- the table --------------------------------------------------------------------------- */

enum { IN_SSE = 1, IN_VEX = 2, IN_EVEX = 4 };

enum shape {
  FULL,    /* the whole vector */
  ALIGNED, /* the same; a misaligned address is a fault of another kind */
  LOW,     /* its lowest element */
  HIGH,    /* bytes 8 to 15 */
  ELEMENT, /* the one that an immediate names */
  LANE16,  /* the 16 bytes that an immediate names */
  LANE32,  /* the half that an immediate names */
  BY_SIGN, /* elements for which the top bit is set in the register that vvvv names */
};

enum { W0 = 1, W1 = 2, W_ANY = 3 };

struct row {
  unsigned char map, opcode, prefix; /* prefix as pp */
  unsigned char encodings;
  unsigned char shape;
  unsigned char element; /* bytes that one bit of a mask stands for */
  unsigned char w;       /* in EVEX */
  unsigned char w_older; /* in SSE and VEX, where it often means nothing */
  unsigned char masks;   /* EVEX allows a mask */
  const char *name;      /* without the v in SSE */
};

#define ALL (IN_SSE | IN_VEX | IN_EVEX)
#define OLD (IN_SSE | IN_VEX)

static const struct row rows[] = {
    {1, 0x11, 0, ALL, FULL, 4, W0, W_ANY, 1, "vmovups"},
    {1, 0x11, 1, ALL, FULL, 8, W1, W_ANY, 1, "vmovupd"},
    {1, 0x11, 2, ALL, LOW, 4, W0, W_ANY, 1, "vmovss"},
    {1, 0x11, 3, ALL, LOW, 8, W1, W_ANY, 1, "vmovsd"},
    {1, 0x13, 0, ALL, LOW, 8, W0, W_ANY, 0, "vmovlps"},
    {1, 0x13, 1, ALL, LOW, 8, W1, W_ANY, 0, "vmovlpd"},
    {1, 0x17, 0, ALL, HIGH, 8, W0, W_ANY, 0, "vmovhps"},
    {1, 0x17, 1, ALL, HIGH, 8, W1, W_ANY, 0, "vmovhpd"},
    {1, 0x29, 0, ALL, ALIGNED, 4, W0, W_ANY, 1, "vmovaps"},
    {1, 0x29, 1, ALL, ALIGNED, 8, W1, W_ANY, 1, "vmovapd"},
    {1, 0x2b, 0, ALL, ALIGNED, 4, W0, W_ANY, 0, "vmovntps"},
    {1, 0x2b, 1, ALL, ALIGNED, 8, W1, W_ANY, 0, "vmovntpd"},
    {1, 0x2b, 2, IN_SSE, LOW, 4, 0, W_ANY, 0, "vmovntss"}, /* AMD's */
    {1, 0x2b, 3, IN_SSE, LOW, 8, 0, W_ANY, 0, "vmovntsd"},
    {1, 0x7e, 1, ALL, LOW, 4, W0, W0, 0, "vmovd"},
    {1, 0x7e, 1, ALL, LOW, 8, W1, W1, 0, "vmovq"},
    {1, 0x7f, 1, OLD, ALIGNED, 4, 0, W_ANY, 0, "vmovdqa"},
    {1, 0x7f, 2, OLD, FULL, 4, 0, W_ANY, 0, "vmovdqu"},
    {1, 0x7f, 1, IN_EVEX, ALIGNED, 4, W0, 0, 1, "vmovdqa32"},
    {1, 0x7f, 1, IN_EVEX, ALIGNED, 8, W1, 0, 1, "vmovdqa64"},
    {1, 0x7f, 2, IN_EVEX, FULL, 4, W0, 0, 1, "vmovdqu32"},
    {1, 0x7f, 2, IN_EVEX, FULL, 8, W1, 0, 1, "vmovdqu64"},
    {1, 0x7f, 3, IN_EVEX, FULL, 1, W0, 0, 1, "vmovdqu8"},
    {1, 0x7f, 3, IN_EVEX, FULL, 2, W1, 0, 1, "vmovdqu16"},
    {1, 0xd6, 1, ALL, LOW, 8, W1, W_ANY, 0, "vmovq"},
    {1, 0xe7, 1, ALL, ALIGNED, 4, W0, W_ANY, 0, "vmovntdq"},
    {2, 0x2e, 1, IN_VEX, BY_SIGN, 4, 0, W0, 0, "vmaskmovps"},
    {2, 0x2f, 1, IN_VEX, BY_SIGN, 8, 0, W0, 0, "vmaskmovpd"},
    {2, 0x8e, 1, IN_VEX, BY_SIGN, 4, 0, W0, 0, "vpmaskmovd"},
    {2, 0x8e, 1, IN_VEX, BY_SIGN, 8, 0, W1, 0, "vpmaskmovq"},
    {3, 0x14, 1, ALL, ELEMENT, 1, W_ANY, W_ANY, 0, "vpextrb"},
    {3, 0x15, 1, ALL, ELEMENT, 2, W_ANY, W_ANY, 0, "vpextrw"},
    {3, 0x16, 1, ALL, ELEMENT, 4, W0, W0, 0, "vpextrd"},
    {3, 0x16, 1, ALL, ELEMENT, 8, W1, W1, 0, "vpextrq"},
    {3, 0x17, 1, ALL, ELEMENT, 4, W_ANY, W_ANY, 0, "vextractps"},
    {3, 0x19, 1, IN_VEX, LANE16, 4, 0, W0, 0, "vextractf128"},
    {3, 0x39, 1, IN_VEX, LANE16, 4, 0, W0, 0, "vextracti128"},
    {3, 0x19, 1, IN_EVEX, LANE16, 4, W0, 0, 1, "vextractf32x4"},
    {3, 0x19, 1, IN_EVEX, LANE16, 8, W1, 0, 1, "vextractf64x2"},
    {3, 0x39, 1, IN_EVEX, LANE16, 4, W0, 0, 1, "vextracti32x4"},
    {3, 0x39, 1, IN_EVEX, LANE16, 8, W1, 0, 1, "vextracti64x2"},
    {3, 0x1b, 1, IN_EVEX, LANE32, 4, W0, 0, 1, "vextractf32x8"},
    {3, 0x1b, 1, IN_EVEX, LANE32, 8, W1, 0, 1, "vextractf64x4"},
    {3, 0x3b, 1, IN_EVEX, LANE32, 4, W0, 0, 1, "vextracti32x8"},
    {3, 0x3b, 1, IN_EVEX, LANE32, 8, W1, 0, 1, "vextracti64x4"},
};

/* ---- decoding ---------------------------------------------------------------------------- */

struct vector {
  unsigned encoding, map, opcode, prefix;
  unsigned size;   /* bytes of the vector */
  unsigned second; /* the register that vvvv names */
  unsigned mask;   /* number of the mask register, 0: none */
  unsigned high;   /* 16 where the register is one of 16 to 31 */
};

/* Bits that stand inverted, R X B at the top, into the form of REX. */
static unsigned rex_of(unsigned rxb, unsigned w) {
  return (~rxb >> 7 & 1) * X86_REX_R | (~rxb >> 6 & 1) * X86_REX_X | (~rxb >> 5 & 1) * X86_REX_B |
         (w ? X86_REX_W : 0);
}

static int read_sse(struct x86_code *code, struct vector *v) {
  const unsigned char *byte = code->byte;
  if (byte[code->at++] != 0x0f)
    return 0;
  v->encoding = IN_SSE;
  v->map = byte[code->at] == 0x38 ? 2 : byte[code->at] == 0x3a ? 3 : 1;
  code->at += v->map > 1;
  v->prefix = code->repeat == 0xf3 ? 2 : code->repeat == 0xf2 ? 3 : code->size16;
  v->size = 16;
  return 1;
}

static int read_vex(struct x86_code *code, struct vector *v) {
  const unsigned char *byte = code->byte;
  unsigned two = byte[code->at++] == 0xc5, long_form = !two;
  unsigned last = byte[code->at + long_form];
  v->encoding = IN_VEX;
  v->map = two ? 1 : byte[code->at] & 31;
  code->rex = two ? rex_of(byte[code->at] | 0x60, 0) : rex_of(byte[code->at], last & 0x80);
  v->prefix = last & 3;
  v->size = (last & 4) ? 32 : 16;
  v->second = ~last >> 3 & 15;
  code->at += 1 + long_form;
  return 1;
}

static int read_evex(struct x86_code *code, struct vector *v) {
  const unsigned char *p = code->byte + code->at + 1;
  /* Bits that are fixed, vvvv and V unused, no zeroing, no broadcast. */
  if ((p[0] & 8) || (p[1] & 0x7c) != 0x7c || (p[2] & 0x98) != 8 || (p[2] & 0x60) == 0x60)
    return 0;
  v->encoding = IN_EVEX;
  v->map = p[0] & 7;
  code->rex = rex_of(p[0], p[1] & 0x80);
  v->high = (p[0] & 0x10) ? 0 : 16;
  v->prefix = p[1] & 3;
  v->size = 16U << (p[2] >> 5 & 3);
  v->mask = p[2] & 7;
  code->at += 4;
  return 1;
}

static const struct row *find(const struct vector *v, unsigned w) {
  for (const struct row *row = rows; row < rows + sizeof rows / sizeof rows[0]; row++)
    if (row->opcode == v->opcode && row->map == v->map && row->prefix == v->prefix &&
        (row->encodings & v->encoding) &&
        ((v->encoding == IN_EVEX ? row->w : row->w_older) & (w ? W1 : W0)))
      return row;
  return NULL;
}

/* Leaves the bytes from the first to the last that the mask has a bit for; between them stands
 * what is there now. */
static int narrow(struct pmalloc_store *s) {
  unsigned char old[64];
  if (s->lanes == 0)
    return 0; /* stores nothing */
  unsigned skip = (unsigned)__builtin_ctzll(s->lanes);
  s->lanes >>= skip;
  s->address += skip;
  s->size = 64U - (unsigned)__builtin_clzll(s->lanes);
  memmove(s->bytes, s->bytes + skip, s->size);
  s->has_bytes = pmalloc_store_old(s, old) == 0;
  for (size_t i = 0; s->has_bytes && i < s->size; i++)
    if (!(s->lanes >> i & 1))
      s->bytes[i] = old[i];
  return 1;
}

/* A bit for each element becomes one for each of its bytes. */
static uint64_t lanes_of(uint64_t elements, unsigned element, size_t size) {
  uint64_t lanes = 0;
  for (size_t i = 0; i < size; i++)
    lanes |= (elements >> (i / element) & 1) << i;
  return lanes;
}

static uint64_t signs_of(const unsigned char *bytes, unsigned element, size_t size) {
  uint64_t signs = 0;
  for (size_t i = 0; i < size / element; i++)
    signs |= (uint64_t)(bytes[(i + 1) * element - 1] >> 7) << i;
  return signs;
}

int pmalloc_store_vector(struct x86_code *code, struct pmalloc_store *s) {
  struct vector v;
  unsigned char all[64], other[64];
  uint64_t elements = UINT64_MAX;
  memset(&v, 0, sizeof v);
  unsigned first = code->byte[code->at];
  int is_new = first == 0xc4 || first == 0xc5 || first == 0x62;
  if (code->lock || (is_new && (code->has_rex || code->repeat || code->size16)))
    return 0;
  if (!(first == 0x62 ? read_evex(code, &v) : is_new ? read_vex(code, &v) : read_sse(code, &v)))
    return 0;
  v.opcode = code->byte[code->at++];
  const struct row *row = find(&v, code->rex & X86_REX_W);
  if (!row || (v.mask && !row->masks) ||
      (v.encoding == IN_VEX && v.second != 0 && row->shape != BY_SIGN))
    return 0;

  unsigned number = x86_extension(code) | ((code->rex & X86_REX_R) << 1) | v.high;
  int lane = row->shape == LANE16 || row->shape == LANE32;
  int single = row->shape == LOW || row->shape == HIGH || row->shape == ELEMENT;
  unsigned immediate = row->shape == ELEMENT || lane, needed = single ? 16 : v.size;
  unsigned size = single ? row->element : row->shape == LANE16 ? 16 : lane ? 32 : v.size;
  /* Sizes that do not go together are no instruction; vmovss and vmovsd take any. */
  if ((lane && size >= v.size) || (single && v.size > 16 && v.opcode != 0x11))
    return 0;
  pmalloc_store_prepare();
  if (!vector_register(code->uc, number, needed, all) ||
      !pmalloc_x86_operand(code, immediate, v.encoding == IN_EVEX ? size : 1, &s->address))
    return 0;
  if (row->shape == ALIGNED && s->address % size != 0)
    return 0;

  unsigned from = row->shape == HIGH ? 8 : immediate ? code->byte[code->at] * size % needed : 0;
  if (v.mask && !component(code->uc, OPMASK, 8 * (size_t)v.mask, &elements, 8))
    return 0;
  if (row->shape == BY_SIGN) {
    if (!vector_register(code->uc, v.second, size, other))
      return 0;
    elements = signs_of(other, row->element, size);
  }
  s->form = elements == UINT64_MAX ? STORE_BYTES : STORE_LANES;
  s->operand = s->address; /* of a masked store: where the whole of it would be */
  s->width = (unsigned char)size;
  s->name = row->name + (v.encoding == IN_SSE);
  s->size = size;
  s->length = (unsigned char)(code->at + immediate);
  s->lanes = lanes_of(elements, row->element, size);
  memcpy(s->bytes, all + from, size);
  s->has_bytes = 1;
  return s->form == STORE_BYTES || narrow(s);
}

#endif
