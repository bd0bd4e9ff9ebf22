/* What the time index says of lines: `Indexer._take` in files/_indexer.py is the reference, and asks here first. */

#include "core.h"

static const char *const LEVELS[] = {"debug", "info", "warning", "error", "critical"};
enum { LEVELS_COUNT = sizeof LEVELS / sizeof *LEVELS };

/* The times of the first and last entry, and the highest level, by its place in `LEVELS`. */
typedef struct {
    const char *low, *high;
    int level;
} Stretch;

static int
has(Needle *needle, const char *text, const char *from, const char *end)
{
    if (needle->text == NULL) {
        *needle = (Needle){(const unsigned char *)text, (Py_ssize_t)strlen(text), 0, 0, 0, NULL};
        choose_rarest(needle);
    }
    return find(needle, (const unsigned char *)from, (const unsigned char *)end) != (const unsigned char *)end;
}

static int
level_of(Text word)
{
    int level = LEVELS_COUNT - 1;
    while (level >= 0 && !is_word(word, LEVELS[level]))
        level--;
    return level;
}

/* Returns whether each line is an entry as our writer writes them, and says its level once. */
static int
survey_lines(const char *at, const char *end, Stretch *found)
{
    Needle name = {0}, escape = {0};
    Header header;
    if (memchr(at, 0, (size_t)(end - at)) != NULL || has(&escape, "\\u00", at, end))
        return 0;
    *found = (Stretch){NULL, NULL, 0};
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        if (newline == NULL || newline == at || !read_header(at, newline, &header))
            return 0;
        int level = level_of(header.level);
        if (level < 0 || has(&name, "\"level\"", header.head.at, newline))
            return 0;
        if (found->low == NULL || memcmp(header.time, found->low, TIME) < 0)
            found->low = header.time;
        if (found->high == NULL || memcmp(header.time, found->high, TIME) > 0)
            found->high = header.time;
        found->level = level > found->level ? level : found->level;
        at = newline + 1;
    }
    return found->low != NULL;
}

static PyObject *
survey(PyObject *Py_UNUSED(module), PyObject *lines)
{
    Stretch found;
    int regular;
    if (!PyBytes_CheckExact(lines))
        return PyErr_Format(PyExc_TypeError, "lines are bytes");
    const char *start = PyBytes_AS_STRING(lines);
    Py_BEGIN_ALLOW_THREADS
    regular = survey_lines(start, start + PyBytes_GET_SIZE(lines), &found);
    Py_END_ALLOW_THREADS
    if (!regular)
        Py_RETURN_NONE;
    return Py_BuildValue("y#y#y", found.low, (Py_ssize_t)TIME, found.high, (Py_ssize_t)TIME, LEVELS[found.level]);
}

PyMethodDef stretch_functions[] = {
    {"survey", survey, METH_O,
     "survey(lines): return the lowest and highest time and the highest level of lines that are all entries as our writer\n"
     "writes them; None if one is not, or may not be."},
    {0},
};
