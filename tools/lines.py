#!/usr/bin/env python3
"""Writes varied lines of text for tokenizer comparisons, one JSON string per line: the same every time.

    tools/lines.py [--count N] [FILE]        standard output without FILE; 2,500 lines without --count, more begin with
    the same

Sentences in many languages, code, numbers, emoji sequences, runs of white space, combining marks, look-alikes of
control tokens, rare characters, and mixtures of all these. All texts are the project's own.
"""
import argparse
import json
import sys

N = 2500

SENTENCES = """
The kettle clicked off before she'd found a clean mug.|I don't think they'll mind if we're ten minutes late.|He'd've \
told us, wouldn't he?
WE'RE CLOSED ON MONDAYS; IT'S ON THE DOOR!|Pick two: cheap, quick, sturdy (nobody gets three).|She said "maybe" -- \
which, from her, means no...
Der Zug nach Würzburg fährt heute über Fulda, weil die Brücke gesperrt ist.|Größere Übungen gehören ans Ende des \
Kapitels.|Straße, Fuß, Äpfel und Öl.
Le garçon a oublié son cœur d'artichaut à l'épicerie ; quel dommage !|Où est-ce que tu l'as rangé, déjà ?|L'été où \
naquit l'idée, il pleuvait.
¿Quién dejó la ventana abierta? ¡Hace un frío tremendo!|Mañana compraré piñones y jalapeños.|El niño no durmió la \
siesta.
Zażółć gęślą jaźń, powiedziała babcia i poszła spać.|Příliš žluťoučký večer skončil dřív, než začal.|Süt içen çocuğun \
ışığı söndü; İzmir uzaktı.
Hôm nay trời đẹp, chúng ta đi uống cà phê nhé?|Người Việt ăn phở vào buổi sáng.|Vârful muntelui era înghețat, însă \
țăranii știau drumul.
Сегодня мы читали вслух, пока не стемнело.|Её ёлка стояла у подъезда до апреля.|Їжак з'їв яблуко й пішов під ґанок.
Το πλοίο φεύγει στις οκτώ, ας βιαστούμε.|Η θάλασσα ήταν ήρεμη και γαλάζια.|Книгата е на масата, а котката спи.
الطقس جميل اليوم، هل نخرج للمشي؟|كتبتُ رسالةً قصيرةً إلى صديقي.|השמש זרחה מעל ההרים והרחוב היה ריק.|שָׁלוֹם לְכֻלָּם
आज बाज़ार में आम बहुत सस्ते थे।|मैंने किताब पूरी पढ़ ली है।|আজ বৃষ্টি হবে বলে মনে হচ্ছে।|இன்று மழை பெய்யும் என்று \
நினைக்கிறேன்.
వంటగదిలో వెలుగు తక్కువగా ఉంది.|ಮನೆಯ ಮುಂದೆ ಒಂದು ಮರ ಇದೆ.|അവൾ ഒരു കഥ എഴുതി.|ਅੱਜ ਮੌਸਮ ਚੰਗਾ ਹੈ।|આજે હવા ઠંડી છે.
วันนี้อากาศร้อนมากจนต้องเปิดหน้าต่างทุกบาน|ຂ້ອຍມັກກິນເຂົ້າໜຽວ|ဒီနေ့ မိုးရွာမယ်ထင်တယ်။|ថ្ងៃនេះក្តៅណាស់។
今天的茶比昨天的淡一些。|她把信放在桌上，然后走了。|這本書的第三章最有意思！|昨日は雨でしたが、今日は晴れています。|カメラとノートを忘れないでね。|ﾊﾝｶｸ文字もある。
오늘 점심은 김치찌개로 할까요?|도서관은 여섯 시에 문을 닫습니다.|დღეს კარგი ამინდია.|Այսօր արև է։|ዛሬ ጥሩ ቀን ነው።|ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ
Í dag er gott veður á Íslandi, þó að það sé kalt.|Ðað er ekki alltaf svona.|Tänään sataa räntää ja työmatka kestää \
kauan.|Õhtul läksime järve äärde.
Leo asubuhi tulikunywa chai na maandazi.|Ńdà ọmọ náà ń ṣeré nínú ilé.|Ua maikaʻi ka lā i kēia kakahiaka.|Manx gaelg \
çheer-çheeroil
"""

CODE = r'''
int main(void) { return puts("hi") == EOF; }
for (size_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
def area(r):\n    """Circle."""\n    return 3.14159 * r ** 2\n
if __name__ == '__main__':\n\tmain(sys.argv[1:])
SELECT name, COUNT(*) FROM pets WHERE age >= 3 GROUP BY name HAVING COUNT(*) > 1;
{"id": 17, "tags": ["a", "b\\n"], "nested": {"x": null, "y": -1.5e-7}}
<div class="card"><a href="/x?y=1&amp;z=2">more&nbsp;&raquo;</a></div>
const add = (a, b) => a + b; // it's fine\r\nlet s = `t${add(1,2)}`;
git commit -m "fix: don't lose the last byte" && ./run.sh --level=3 | tee out.log
fn main() -> Result<(), Box<dyn Error>> { println!("{:?}", vec![1u8; 4]); Ok(()) }
\\begin{align} E &= mc^2 \\\\ \\nabla \\cdot B &= 0 \\end{align}
#include <stdio.h>\n#define MAX(a,b) ((a)>(b)?(a):(b))\n\n\nstatic int x_1, _y2__z;
a=b==c!==d<=>e||f&&!g??h?.i::j->k.*l...m
C:\\Users\\me\\file (1).txt and /usr/local/lib/x86_64-linux-gnu/lib.so.6
https://example.org/a/b.html?q=caf%C3%A9&lang=en#top mail@example.org @name #tag $HOME ${x:-1}
'''

NUMBERS = """
0 1 12 123 1234 12345 123456 1234567890|3.14159, 2,718.28, 1e-9, 0xDEADBEEF, 0b1011|1999-12-31 23:59:60|+49 (0)30 \
1234-5678|50% of 1/3 is ½·⅓
Ⅷ ⅻ ¹²³ x² H₂O ①②⑳ ㊿|٠١٢٣٤٥٦٧٨٩ ۴۵۶|०१२३ ৪৫৬ ๗๘๙|１２３４５ ＡＢＣ|一二三 〇 三十五|v1.2.3-rc4+build567|$1,234.50 €99,— £5 \
¥1000|10^100 2**8 7! 5x5=25|A1B2C3 a1b2 x86_64 H264|００７
"""

EMOJI = ["😀", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇯🇵", "❤️", "☕", "🧑🏿‍🚀", "1️⃣", "✨🎉", "🤷‍♀️", "🫠", "👁️‍🗨️", "🐈‍⬛", "♻︎",
         "🏴󠁧󠁢󠁳󠁣󠁴󠁿"]

CONTROL_LIKE = ["<|im_end|>", "<|im_start|>", "<|im_start|>system\n", "<|endoftext|>", "<|eot_id|>", "<|im_end",
                "|im_end|>", "< |im_end|>",
                "<|im_end|>>", "<<|im_start|>", "<|IM_END|>", "<|im_end|><|im_end|>", "<repo_name>", "<file_sep>",
                "<think>", "</think>", "<think>>",
                "<|start_header_id|>user<|end_header_id|>", "<|begin_of_text|>", "[INST]", "<s>", "</s>", "<0x0A>",
                "<empty_output>", "<JSON_START>"]

SPACES = [" ", "  ", "   ", "    ", "        ", "\t", "\t\t", " \t ", "\n", "\n\n", "\r\n", "\r\n\r\n", " \n", "\n ",
          " \n \n  ", "\r", "\u00a0", " \u00a0 ",
          "\u3000", "\u2003\u2009", "\u0085", "\u2028", "\u2029", "\u180e", "\u200b", "\u202f", "\ufeff", "\v", "\f",
          "\x1c", "\x1f", "\u1680 ", "                 "]

MARKS = ["e\u0301", "a\u0308\u0323", "n\u0303", "o\u0302\u0301", "Z\u0351\u036b\u0343\u036a\u0302", "\u0301x",
         " \u0300", "c\u0327\u0301", "\u1100\u1161\u11a8", "\u0e01\u0e49\u0e33",
         "\u0915\u094d\u0937", "\ufb01n", "\u01c5", "\u1e9e", "\u0130i\u0307", "\u212a\u212b", "'\u017f", "\u2019s",
         "don\u2019t", "'S", "'Ll", "I'M", "x'Re", "''s", "'d'd"]

RANGES = [(0x20, 0x7e), (0xa1, 0x24f), (0x250, 0x2af), (0x300, 0x36f), (0x370, 0x52f), (0x590, 0x6ff), (0x900, 0xdff),
          (0xe00, 0xeff), (0x10a0, 0x11ff), (0x13a0, 0x17ff),
          (0x1e00, 0x1fff), (0x2000, 0x206f), (0x2070, 0x218b), (0x2190, 0x2bff), (0x3000, 0x30ff), (0x4e00, 0x9fff),
          (0xac00, 0xd7a3), (0xfb00, 0xfdff), (0xfe20, 0xffef),
          (0x10300, 0x1034a), (0x1d400, 0x1d7ff), (0x1f300, 0x1faff), (0x20000, 0x2a6df), (0xe000, 0xe0ff), (0x1, 0x1f),
          (0x7f, 0x9f)]

WORDS = ("time house green walk seven under bright message table quiet river almost people engine garden letter "
         "morning because window simple answer "
         "through measure weather nothing picture orange between language reward judge rubric persona careful honest "
         "shorter friendly because although").split()


class Random:
    """A 64-bit LCG: the lines depend on no library's generator."""

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % n

    def pick(self, items):
        return items[self.below(len(items))]


def split(block):
    return [s for line in block.strip().split("\n") for s in line.split("|")]


def code_lines():
    return [s.replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "\r") for s in CODE.strip().split("\n")]


def words(r):
    out = []
    for _ in range(2 + r.below(9)):
        w = r.pick(WORDS)
        out.append(
            r.pick([w, w, w, w.capitalize(), w.upper(),
                    w + r.pick([",", ".", "!", "?", ";", ":", "'s", "'ll", "-ish", "'T", ")", "..."]),
                    str(r.below(10 ** (1 + r.below(7))))]))
    return r.pick([" ", " ", " ", "  ", "_", "", "\n", "\t"]).join(out)


def rare(r):
    out = ""
    for _ in range(1 + r.below(12)):
        lo, hi = r.pick(RANGES)
        out += "".join(chr(lo + r.below(hi - lo + 1)) for _ in range(1 + r.below(4)))
    return out


def run(r):
    return r.pick(["a", "ab", " ", "=", "-", "é", "字", "0", "1", "😀", "\n", "\t", "e\u0301", ".", "<|"]) * (
        1 + r.below(60))


def mixture(r, pools):
    return "".join(r.pick(r.pick(pools)) + r.pick(["", "", " ", r.pick(SPACES)]) for _ in range(2 + r.below(4)))


def lines(count=N):
    r = Random(20250301)
    sentences, code, numbers = split(SENTENCES), code_lines(), split(NUMBERS)
    pools = [[words(r) for _ in range(60)], sentences, code, numbers, EMOJI, CONTROL_LIKE, SPACES, MARKS]
    out = sentences + code + numbers + EMOJI + CONTROL_LIKE + SPACES + MARKS + ["", " ", "a", "\n"]
    makers = [lambda: words(r), lambda: rare(r), lambda: run(r)] + [lambda: mixture(r, pools)] * 5
    while len(out) < count:
        out.append(r.pick(makers)()[:160])
    return out[:count]


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--count", type=int, default=N)
    p.add_argument("file", nargs="?")
    args = p.parse_args()
    text = "".join(json.dumps(s, ensure_ascii=False) + "\n" for s in lines(args.count))
    if args.file:
        with open(args.file, "w", encoding="utf-8", newline="\n") as f:
            f.write(text)
    else:
        sys.stdout.buffer.write(text.encode())


if __name__ == "__main__":
    main()
