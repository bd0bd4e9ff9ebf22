/* The reader's first look at whole lines: which of them may be wanted. The counterpart of `logs/reading/_selection.py`.

   Works on bytes, without decoding and without the interpreter lock. A line is dropped only for what is certain from
   its bytes: a time outside the wanted one at the place where our writer has it, or the lack of a text that each wanted
   line has. Lines with an escape sequence that can stand for any character, or with bytes that are not UTF-8, may hold
   any text. */

#include "core.h"
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define MOST_GROUPS 8
#define MOST_NEEDLES 32

static const char START[] = "{\"timestamp\":\"", AFTER_TIME[] = "Z\",", SEQUENCE[] = ",\"sequence_id\":";
enum {
    TIME_BEGIN = sizeof START - 1,
    TIME_SIZE = TIME,
    HEADER_END = TIME_BEGIN + TIME_SIZE + sizeof AFTER_TIME - 1,
    SEQUENCE_SIZE = sizeof SEQUENCE - 1,
    HEADER_LENGTH = 1024,
    MOST_DIGITS = 18,
};

/* -- searching ---------------------------------------------------------------------------------------------------- */

static int
rank_of(unsigned char byte)
{
    static const char common[] = "\"0,:1_.23456789eatinrosldcmp-{}[] ";
    const char *at = byte ? strchr(common, byte | (byte >= 'A' && byte <= 'Z' ? 0x20 : 0)) : NULL;
    return at == NULL ? 0 : (int)(sizeof common - (at - common));
}

void
choose_rarest(Needle *needle)
{
    needle->first = 0;
    for (Py_ssize_t i = 1; i < needle->size; i++)
        if (rank_of(needle->text[i]) < rank_of(needle->text[needle->first]))
            needle->first = i;
    needle->second = needle->first ? 0 : needle->size - 1;
    for (Py_ssize_t i = 0; i < needle->size; i++)
        if (i != needle->first && rank_of(needle->text[i]) < rank_of(needle->text[needle->second]))
            needle->second = i;
}

static inline unsigned char
case_bit(const Needle *needle, unsigned char byte)
{
    return needle->fold && byte >= 'a' && byte <= 'z' ? 0x20 : 0;
}

int
is_at(const Needle *needle, const unsigned char *place)
{
    if (!needle->fold)
        return memcmp(place, needle->text, (size_t)needle->size) == 0;
    for (Py_ssize_t i = 0; i < needle->size; i++)
        if ((place[i] | case_bit(needle, needle->text[i])) != needle->text[i])
            return 0;
    return 1;
}

const unsigned char *
find(const Needle *needle, const unsigned char *from, const unsigned char *end)
{
    if (end - from < needle->size)
        return end;
    unsigned char one = needle->text[needle->first], two = needle->text[needle->second];
    unsigned char one_case = case_bit(needle, one), two_case = case_bit(needle, two);
    const unsigned char *last = end - needle->size; /* the last place where it fits */
#ifdef __SSE2__
    const __m128i ones = _mm_set1_epi8((char)one), twos = _mm_set1_epi8((char)two);
    const __m128i one_cases = _mm_set1_epi8((char)one_case), two_cases = _mm_set1_epi8((char)two_case);
    for (; from + 15 <= last; from += 16) {
        __m128i left = _mm_loadu_si128((const __m128i *)(from + needle->first));
        __m128i right = _mm_loadu_si128((const __m128i *)(from + needle->second));
        left = _mm_cmpeq_epi8(_mm_or_si128(left, one_cases), ones);
        right = _mm_cmpeq_epi8(_mm_or_si128(right, two_cases), twos);
        for (unsigned int mask = (unsigned int)_mm_movemask_epi8(_mm_and_si128(left, right)); mask; mask &= mask - 1)
            if (is_at(needle, from + __builtin_ctz(mask)))
                return from + __builtin_ctz(mask);
    }
#endif
    for (; from <= last; from++) {
        if (!one_case) { /* memchr is the fastest search that every system has */
            from = memchr(from + needle->first, one, (size_t)(last - from) + 1);
            if (from == NULL)
                return end;
            from -= needle->first;
        }
        if ((from[needle->first] | one_case) == one && (from[needle->second] | two_case) == two && is_at(needle, from))
            return from;
    }
    return end;
}

int
sequence_size(const unsigned char *at, const unsigned char *end)
{
    unsigned char lead = at[0];
    int size = lead < 0xC2 || lead > 0xF4 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (size == 0 || end - at < size)
        return 0;
    for (int i = 1; i < size; i++)
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    if ((lead == 0xE0 && at[1] < 0xA0) || (lead == 0xED && at[1] > 0x9F) || (lead == 0xF0 && at[1] < 0x90) ||
        (lead == 0xF4 && at[1] > 0x8F))
        return 0;
    return size;
}

const unsigned char *
find_hidden(const unsigned char *from, const unsigned char *end)
{
    while (from < end) {
#ifdef __SSE2__
        const __m128i slashes = _mm_set1_epi8('\\');
        unsigned int mask = 0;
        for (; from + 16 <= end; from += 16) {
            __m128i bytes = _mm_loadu_si128((const __m128i *)from);
            mask = (unsigned int)_mm_movemask_epi8(_mm_or_si128(bytes, _mm_cmpeq_epi8(bytes, slashes)));
            if (mask)
                break;
        }
        if (mask)
            from += __builtin_ctz(mask);
#endif
        while (from < end && *from != '\\' && *from < 0x80)
            from++;
        if (from == end)
            break;
        if (*from == '\\') {
            if (from + 1 < end && (from[1] == 'u' || from[1] == '/'))
                return from;
            from++;
            continue;
        }
        int size = sequence_size(from, end);
        if (size == 0)
            return from;
        from += size;
    }
    return end;
}

/* -- lines -------------------------------------------------------------------------------------------------------- */

int
is_regular(const unsigned char *line, const unsigned char *end, int64_t *number)
{
    if (end - line <= HEADER_END || memcmp(line, START, TIME_BEGIN) != 0 || end[-1] != '}' ||
        memcmp(line + TIME_BEGIN + TIME_SIZE, AFTER_TIME, sizeof AFTER_TIME - 1) != 0)
        return 0;
    const unsigned char *limit = end - line > HEADER_LENGTH ? line + HEADER_LENGTH : end;
    Needle sequence = {(const unsigned char *)SEQUENCE, SEQUENCE_SIZE, 4, 10, 0, NULL}; /* q and _ */
    const unsigned char *at = find(&sequence, line + HEADER_END, limit);
    if (at == limit)
        return 0;
    const unsigned char *digits = at + SEQUENCE_SIZE, *stop = digits;
    while (stop < end && *stop >= '0' && *stop <= '9')
        stop++;
    if (digits == stop || stop - digits > MOST_DIGITS || stop == end || (*stop != ',' && stop != end - 1))
        return 0;
    for (*number = 0; digits < stop; digits++)
        *number = *number * 10 + *digits - '0';
    return 1;
}

/* Texts of which a wanted line has at least one. With *odd*, a line that is not regular needs none. */
typedef struct {
    Needle *needles;
    int count, odd;
} Group;

typedef struct {
    Group groups[MOST_GROUPS];
    int count, used;
    Needle needles[MOST_NEEDLES];
    const unsigned char *hidden; /* like the hit of a needle */
    Py_buffer data, since, until;
} Search;

typedef struct {
    int64_t *bounds; /* begin, end and number of each line; the end is negative for one that is not regular */
    size_t used, room;
    unsigned char low[TIME_SIZE], high[TIME_SIZE];
    int timed, odd, failed;
} Found;

static const unsigned char *
next_hit(Needle *needle, const unsigned char *from, const unsigned char *end)
{
    if (needle->hit < from)
        needle->hit = find(needle, from, end);
    return needle->hit;
}

static const unsigned char *
next_hidden(Search *search, const unsigned char *from, const unsigned char *end)
{
    if (search->hidden < from)
        search->hidden = find_hidden(from, end);
    return search->hidden;
}

/* Return whether a line has a text of a group; *end* is that of all data. Few lines come as far as to the second group:
   its texts are searched for in those lines alone. */
static int
has_text(Search *search, int number, const unsigned char *line, const unsigned char *stop, const unsigned char *end)
{
    Group *group = &search->groups[number];
    for (int i = 0; i < group->count; i++)
        if (number ? find(&group->needles[i], line, stop) < stop : next_hit(&group->needles[i], line, end) < stop)
            return 1;
    return next_hidden(search, line, end) < stop;
}

static int
is_in_time(const Search *search, const unsigned char *time)
{
    return (search->since.len == 0 || memcmp(time, search->since.buf, TIME_SIZE) >= 0) &&
           (search->until.len == 0 || memcmp(time, search->until.buf, TIME_SIZE) <= 0);
}

static void
note(Found *found, const unsigned char *begin, const unsigned char *line, const unsigned char *stop, int64_t number)
{
    int regular = number >= 0;
    if (found->used + 3 > found->room) {
        size_t room = found->room ? found->room * 2 : 384;
        int64_t *larger = PyMem_RawRealloc(found->bounds, room * sizeof(int64_t));
        if (larger == NULL) {
            found->failed = 1;
            return;
        }
        found->bounds = larger;
        found->room = room;
    }
    found->bounds[found->used++] = line - begin;
    found->bounds[found->used++] = regular ? stop - begin : begin - stop;
    found->bounds[found->used++] = number;
    if (!regular) {
        found->odd = 1;
        return;
    }
    const unsigned char *time = line + TIME_BEGIN;
    if (!found->timed || memcmp(time, found->low, TIME_SIZE) < 0)
        memcpy(found->low, time, TIME_SIZE);
    if (!found->timed || memcmp(time, found->high, TIME_SIZE) > 0)
        memcpy(found->high, time, TIME_SIZE);
    found->timed = 1;
}

static void
judge(Search *search, Found *found, const unsigned char *line, const unsigned char *stop, const unsigned char *end)
{
    int regular = -1; /* not known yet */
    int64_t number = -1;
    if (search->since.len || search->until.len) {
        /* The time first: it costs least. */
        if (stop - line > HEADER_END && memcmp(line, START, TIME_BEGIN) == 0 &&
            !is_in_time(search, line + TIME_BEGIN) && (regular = is_regular(line, stop, &number)))
            return;
    }
    for (int i = 0; i < search->count; i++) {
        Group *group = &search->groups[i];
        if (group->odd && regular < 0)
            regular = is_regular(line, stop, &number);
        if (!(group->odd && !regular) && !has_text(search, i, line, stop, end))
            return;
    }
    regular = regular < 0 ? is_regular(line, stop, &number) : regular;
    note(found, search->data.buf, line, stop, regular ? number : -1);
}

/* Return where the first line begins, from *line* on, that may have a text of the first group, if only such pass. */
static const unsigned char *
skip(Search *search, const unsigned char *line, const unsigned char *end)
{
    if (search->count == 0 || search->groups[0].odd || search->since.len || search->until.len)
        return line;
    const unsigned char *nearest = next_hidden(search, line, end);
    for (int i = 0; i < search->groups[0].count; i++) {
        const unsigned char *hit = next_hit(&search->groups[0].needles[i], line, end);
        nearest = hit < nearest ? hit : nearest;
    }
    if (nearest == end)
        return end;
    while (nearest > line && nearest[-1] != '\n')
        nearest--;
    return nearest;
}

static void
walk(Search *search, Found *found)
{
    const unsigned char *line = search->data.buf, *end = line + search->data.len;
    while ((line = skip(search, line, end)) < end && !found->failed) {
        const unsigned char *stop = memchr(line, '\n', (size_t)(end - line));
        stop = stop == NULL ? end : stop;
        if (stop > line)
            judge(search, found, line, stop, end);
        line = stop + 1;
        if (stop == end)
            break;
    }
}

/* -- the call ----------------------------------------------------------------------------------------------------- */

static int
take_group(Search *search, PyObject *given)
{
    PyObject *texts;
    int fold, odd;
    if (!PyArg_ParseTuple(given, "O!pp", &PyTuple_Type, &texts, &fold, &odd))
        return -1;
    Group *group = &search->groups[search->count++];
    *group = (Group){.needles = search->needles + search->used, .odd = odd};
    if (PyTuple_GET_SIZE(texts) > MOST_NEEDLES - search->used) {
        PyErr_SetString(PyExc_ValueError, "too many texts");
        return -1;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(texts); i++) {
        PyObject *text = PyTuple_GET_ITEM(texts, i);
        if (!PyBytes_CheckExact(text) || PyBytes_GET_SIZE(text) == 0) {
            PyErr_SetString(PyExc_TypeError, "a text is bytes, and not empty");
            return -1;
        }
        Needle needle = {(const unsigned char *)PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text), 0, 0, fold, NULL};
        choose_rarest(&needle);
        group->needles[group->count++] = needle;
        search->used++;
    }
    return 0;
}

static int
take_groups(Search *search, PyObject *groups)
{
    if (PyTuple_GET_SIZE(groups) > MOST_GROUPS) {
        PyErr_SetString(PyExc_ValueError, "too many groups");
        return -1;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(groups); i++) {
        PyObject *group = PyTuple_GET_ITEM(groups, i);
        if (!PyTuple_Check(group) || take_group(search, group) < 0) {
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_TypeError, "a group is a tuple");
            return -1;
        }
    }
    return 0;
}

/* The arguments hold the texts and groups, which are immutable, during the call. */
static PyObject *
select_lines(PyObject *Py_UNUSED(module), PyObject *args)
{
    Search search = {0};
    Found found = {0};
    PyObject *groups, *result = NULL;
    if (!PyArg_ParseTuple(args, "y*y*y*O!", &search.data, &search.since, &search.until, &PyTuple_Type, &groups))
        return NULL;
    if ((search.since.len && search.since.len != TIME_SIZE) || (search.until.len && search.until.len != TIME_SIZE))
        PyErr_SetString(PyExc_ValueError, "a time has 26 characters");
    else if (take_groups(&search, groups) == 0) {
        Py_BEGIN_ALLOW_THREADS
        walk(&search, &found);
        Py_END_ALLOW_THREADS
        Py_ssize_t size = found.timed ? TIME_SIZE : 0;
        result = found.failed ? PyErr_NoMemory()
                              : Py_BuildValue("y#y#y#O", found.bounds ? (char *)found.bounds : "",
                                              (Py_ssize_t)(found.used * sizeof(int64_t)), found.low, size, found.high,
                                              size, found.odd ? Py_False : Py_True);
    }
    PyMem_RawFree(found.bounds);
    PyBuffer_Release(&search.data);
    PyBuffer_Release(&search.since);
    PyBuffer_Release(&search.until);
    return result;
}

PyMethodDef scan_functions[] = {
    {"select", select_lines, METH_VARARGS,
     "select(data, since, until, groups): return which lines may be wanted; see logs/reading/_selection.py."},
    {0},
};
