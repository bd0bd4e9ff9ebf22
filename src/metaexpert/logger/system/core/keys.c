/* Whether a line has one of certain keys, found in one walk from key to key. */

#include "core.h"
#ifdef __SSE2__
#include <emmintrin.h>
#endif

static const char KEY_END[] = "\":";
enum { KEY_END_SIZE = sizeof KEY_END - 1 };

/* Return whether the end of a key there is one of the keys, whose names do not reach over *from*. */
static inline int
is_key(const Keys *keys, const unsigned char *from, const unsigned char *quote)
{
    uint32_t open = UINT32_MAX;
    for (Py_ssize_t i = 0; i < SEEN_OF_KEY && open; i++)
        open &= quote - from > i ? keys->with[i][quote[-1 - i]] : keys->shorter[i];
    for (int i = 0; open; i++, open >>= 1) {
        Py_ssize_t before = keys->needles[i].size - KEY_END_SIZE;
        if ((open & 1) && quote - from >= before && is_at(&keys->needles[i], quote - before))
            return 1;
    }
    return 0;
}

/* Return whether a byte makes a line pass: it ends one of the keys, or hides what stands there. */
static inline int
is_telling(const Keys *keys, const unsigned char *from, const unsigned char *at, const unsigned char *end, int *valid)
{
    if (*at == '"')
        return at + 1 < end && at[1] == ':' && is_key(keys, from, at);
    if (*at == '\\')
        return at + 1 < end && (at[1] == 'u' || at[1] == '/');
    if (*at < 0x80 || *valid)
        return 0;
    *valid = find_hidden(at, end) == end; /* all from here on is seen at the first such byte */
    return !*valid;
}

int
add_key(Keys *keys, PyObject *text)
{
    Py_ssize_t before = PyBytes_CheckExact(text) ? PyBytes_GET_SIZE(text) - KEY_END_SIZE : 0;
    if (keys->count == MOST_KEYS || before <= 0 ||
        memcmp(PyBytes_AS_STRING(text) + before, KEY_END, KEY_END_SIZE) != 0) {
        PyErr_SetString(PyExc_ValueError, "too many keys, or one that does not end as a key does");
        return -1;
    }
    const unsigned char *name = (const unsigned char *)PyBytes_AS_STRING(text);
    uint32_t bit = 1U << keys->count;
    for (Py_ssize_t i = 0; i < SEEN_OF_KEY; i++) {
        unsigned char byte = i < before ? name[before - 1 - i] : 0;
        for (int any = 0; any < 256; any++)
            if (i >= before || (any >= 'A' && any <= 'Z' ? any | 0x20 : any) == byte)
                keys->with[i][any] |= bit;
        keys->shorter[i] |= i >= before ? bit : 0;
    }
    keys->needles[keys->count++] = (Needle){name, PyBytes_GET_SIZE(text), 0, 0, 1, NULL};
    return 0;
}

int
has_key(const Keys *keys, const unsigned char *from, const unsigned char *end)
{
    const unsigned char *at = from;
    int valid = 0;
#ifdef __SSE2__
    const __m128i quotes = _mm_set1_epi8('"'), colons = _mm_set1_epi8(':'), slashes = _mm_set1_epi8('\\');
    for (; end - at > 16; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)at), next = _mm_loadu_si128((const __m128i *)(at + 1));
        __m128i ends = _mm_and_si128(_mm_cmpeq_epi8(bytes, quotes), _mm_cmpeq_epi8(next, colons));
        ends = _mm_or_si128(_mm_or_si128(ends, bytes), _mm_cmpeq_epi8(bytes, slashes)); /* and bytes beyond ASCII */
        for (unsigned int mask = (unsigned int)_mm_movemask_epi8(ends); mask; mask &= mask - 1)
            if (is_telling(keys, from, at + __builtin_ctz(mask), end, &valid))
                return 1;
    }
#endif
    for (; at < end; at++)
        if (is_telling(keys, from, at, end, &valid))
            return 1;
    return 0;
}
