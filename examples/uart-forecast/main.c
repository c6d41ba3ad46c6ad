/*
 * A forecaster on a UART, without a host program: text in, text out.
 *
 * A line "v1,v2,...\n" is one sample, TQS_CHANNELS decimal numbers in physical units. It is answered with
 *
 *     wait N            N further samples are needed before the first forecast
 *     forecast H        followed by H lines of TQS_OUTPUTS numbers, the next step first
 *     error REASON      the line was no sample; nothing was pushed
 *
 * "reset\n" forgets all samples. A carriage return before the line feed is passed over, and so are spaces.
 *
 * The UART is polled and holds a byte or a few: send the next line once the answer to the last one is complete.
 */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "tqs_model.h"
#include "tqs_uart.h"

#if TQS_EXOGENOUS > 0u
#error "this model has inputs known ahead: take them from your program and call tqs_forecast_ahead (docs/c-api.md)"
#endif

#ifndef HORIZON
#define HORIZON 8u
#endif

#define LINE_SIZE (16u * TQS_CHANNELS + 16u) /* bytes of the longest line, with the zero that ends it */
#define MOST_DIGITS 9u                       /* digits that a uint32_t always holds; further ones are passed over */
#define DECIMALS 6u
#define DECIMAL_UNIT 1000000u /* 10 to the power of DECIMALS */

static tqs_model_t model; /* static: it holds the window, the states and the arena */
static float forecast[HORIZON * TQS_OUTPUTS];

static bool is_digit(char c) {
    return (c >= '0') && (c <= '9');
}

/* value * 10^exponent. In double, which holds a uint32_t exactly: the result is within rounding of the decimal. */
static float scale_by_ten(uint32_t value, int32_t exponent) {
    double result = (double)value;
    for (int32_t i = exponent; i > 0; i--) {
        result *= 10.0;
    }
    double divisor = 1.0;
    for (int32_t i = exponent; i < 0; i++) {
        divisor *= 10.0;
    }
    return (float)(result / divisor);
}

/*
 * A decimal number without exponent, such as -12, +0.5 or 7.: *end becomes the byte after it. False if there is no
 * digit. Digits beyond the ninth significant one are not looked at, a float has no room for them.
 */
static bool parse_number(const char *text, float *value, const char **end) {
    const char *at = text;
    const bool negative = *at == '-';
    if ((*at == '-') || (*at == '+')) {
        at++;
    }
    uint32_t digits = 0;
    uint32_t held = 0; /* significant digits in `digits` */
    int32_t exponent = 0;
    bool found = false;
    bool fraction = false;
    while (is_digit(*at) || ((*at == '.') && !fraction)) {
        if (*at == '.') {
            fraction = true;
        } else {
            found = true;
            if (held < MOST_DIGITS) {
                digits = (digits * 10u) + (uint32_t)(*at - '0');
                held += (digits != 0u) ? 1u : 0u;
                exponent -= fraction ? 1 : 0;
            } else {
                exponent += fraction ? 0 : 1;
            }
        }
        at++;
    }
    const float magnitude = scale_by_ten(digits, exponent);
    *value = negative ? -magnitude : magnitude;
    *end = at;
    return found;
}

static const char *skip_spaces(const char *text) {
    while (*text == ' ') {
        text++;
    }
    return text;
}

static bool parse_sample(const char *line, float sample[TQS_CHANNELS]) {
    const char *at = line;
    for (uint32_t i = 0; i < TQS_CHANNELS; i++) {
        if (i > 0u) {
            if (*at != ',') {
                return false;
            }
            at++;
        }
        if (!parse_number(skip_spaces(at), &sample[i], &at)) {
            return false;
        }
        at = skip_spaces(at);
    }
    return *at == '\0';
}

static void print_text(const char *text) {
    for (; *text != '\0'; text++) {
        tqs_uart_tx((uint8_t)*text);
    }
}

/* With at least `least` digits, zeros before them. */
static void print_unsigned(uint32_t value, uint32_t least) {
    char digits[10];
    uint32_t count = 0;
    do {
        digits[count] = (char)('0' + (char)(value % 10u));
        count++;
        value /= 10u;
    } while ((value > 0u) || (count < least));
    while (count > 0u) {
        count--;
        tqs_uart_tx((uint8_t)digits[count]);
    }
}

/* Six decimals. Beyond 32 bits the whole part is printed as its leading digits and an exponent: 4.294968e9. */
static void print_number(float number) {
    double value = (double)number;
    if (value < 0.0) {
        tqs_uart_tx((uint8_t)'-');
        value = -value;
    }
    uint32_t exponent = 0;
    if (value >= 4294967295.0) {
        while (value >= 9.9999995) { /* what would round to 10.000000 is divided once more */
            value /= 10.0;
            exponent++;
        }
    }
    uint32_t whole = (uint32_t)value;
    uint32_t decimals = (uint32_t)(((value - (double)whole) * (double)DECIMAL_UNIT) + 0.5);
    if (decimals == DECIMAL_UNIT) {
        decimals = 0;
        whole++;
    }
    print_unsigned(whole, 1u);
    tqs_uart_tx((uint8_t)'.');
    print_unsigned(decimals, DECIMALS);
    if (exponent > 0u) {
        tqs_uart_tx((uint8_t)'e');
        print_unsigned(exponent, 1u);
    }
}

static void print_forecast(void) {
    tqs_forecast(&model, HORIZON, forecast);
    print_text("forecast ");
    print_unsigned(HORIZON, 1u);
    print_text("\n");
    for (uint32_t t = 0; t < HORIZON; t++) {
        for (uint32_t i = 0; i < TQS_OUTPUTS; i++) {
            if (i > 0u) {
                print_text(",");
            }
            print_number(forecast[(t * TQS_OUTPUTS) + i]);
        }
        print_text("\n");
    }
}

/* Waits for the next line; false if it is longer than LINE_SIZE holds, and then `line` is cut off. */
static bool read_line(char line[LINE_SIZE]) {
    uint32_t length = 0;
    bool fits = true;
    for (;;) {
        const int byte = tqs_uart_rx();
        if (byte == (int)'\n') {
            line[length] = '\0';
            return fits;
        }
        if ((byte >= 0) && (byte != (int)'\r')) {
            if ((length + 1u) < LINE_SIZE) {
                line[length] = (char)byte;
                length++;
            } else {
                fits = false;
            }
        }
    }
}

static void answer(const char *line) {
    float sample[TQS_CHANNELS];
    if (strcmp(line, "reset") == 0) {
        tqs_reset(&model);
    } else if (parse_sample(line, sample)) {
        tqs_push(&model, sample);
    } else {
        print_text("error not a sample\n");
        return;
    }
    if (tqs_ready(&model)) {
        print_forecast();
    } else {
        print_text("wait ");
        print_unsigned(TQS_WINDOW - tqs_pushed(&model), 1u);
        print_text("\n");
    }
}

int main(void) {
    static char line[LINE_SIZE];
    tqs_uart_init();
    tqs_reset(&model);
    for (;;) {
        if (read_line(line)) {
            answer(line);
        } else {
            print_text("error line too long\n");
        }
    }
}
