package cqrs.debezium;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.zip.DataFormatException;
import java.util.zip.Inflater;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.connect.connector.ConnectRecord;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.header.ConnectHeaders;
import org.apache.kafka.connect.header.Header;
import org.apache.kafka.connect.header.Headers;
import org.apache.kafka.connect.transforms.Transformation;

/**
 * Makes of a row of the outbox, as Debezium's event router leaves it, the message that our relay would send: its headers
 * come out of their JSON, and its body as it was before it was compressed.
 *
 * <p>The router has to place the column {@code headers} as a header {@code cqrs_headers}. What has none is no message of
 * ours (a heartbeat, say), and passes as it is. A row of which no message can be made stops the connector, so that
 * nothing is passed over.
 */
public final class OutboxMessage<R extends ConnectRecord<R>> implements Transformation<R> {
    private static final String HEADERS = "cqrs_headers";
    private static final String ROUTERS_ID = "id"; // added to every message, for errors; ours have theirs in ce_id
    private static final String MARK = "cqrs_compressed"; // see compressor.py
    private static final String CONTENT_ENCODING = "content-encoding";
    private static final char ESCAPE = '\uf8ff'; // see rows.py

    private final ObjectMapper json = new ObjectMapper();

    @Override
    public R apply(R record) {
        Header kept = record.headers().lastWithName(HEADERS);
        if (kept == null) {
            return record;
        }
        String id = String.valueOf(valueOf(record.headers().lastWithName(ROUTERS_ID)));
        JsonNode given = parsed(kept.value(), id);
        Headers headers = new ConnectHeaders(); // and none of those that Debezium and the router add
        boolean isCompressed = given.has(MARK);
        for (Map.Entry<String, JsonNode> header : given.properties()) {
            if (isCompressed && (header.getKey().equals(MARK) || header.getKey().equals(CONTENT_ENCODING))) {
                continue;
            }
            headers.addBytes(nameOf(header.getKey(), id), unescaped(textOf(header.getValue(), id)));
        }
        byte[] body = bytesOf(record.value(), id);
        if (isCompressed) {
            body = decompressed(body, textOf(given.get(MARK), id), id);
        }
        return record.newRecord(record.topic(), record.kafkaPartition(), record.keySchema(), record.key(),
                Schema.BYTES_SCHEMA, body, record.timestamp(), headers);
    }

    private static Object valueOf(Header header) {
        return header == null ? null : header.value();
    }

    private JsonNode parsed(Object text, String id) {
        JsonNode given = null;
        try {
            given = json.readTree(String.valueOf(text));
        } catch (JsonProcessingException error) {
            throw new DataException("The headers of message " + id + " are no JSON.", error);
        }
        if (!given.isObject()) {
            throw new DataException("The headers of message " + id + " are no object.");
        }
        return given;
    }

    private static String textOf(JsonNode value, String id) {
        if (!value.isTextual()) {
            throw new DataException("A header of message " + id + " is no text.");
        }
        return value.textValue();
    }

    private static String nameOf(String name, String id) {
        try {
            return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(unescaped(name))).toString();
        } catch (CharacterCodingException error) {
            throw new DataException("The name of a header of message " + id + " is no text, as Kafka's are.", error);
        }
    }

    private static byte[] bytesOf(Object value, String id) {
        if (value instanceof byte[] bytes) {
            return bytes;
        }
        if (value instanceof ByteBuffer buffer) {
            byte[] bytes = new byte[buffer.remaining()];
            buffer.duplicate().get(bytes);
            return bytes;
        }
        throw new DataException("The body of message " + id + " did not come as bytes: binary.handling.mode has to be bytes.");
    }

    /** Gives the bytes of a text; behind an escape stands the number of a byte that is no text, or the escape itself. */
    private static byte[] unescaped(String text) {
        if (text.indexOf(ESCAPE) < 0) {
            return text.getBytes(StandardCharsets.UTF_8);
        }
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        int begin = 0;
        for (int at = text.indexOf(ESCAPE); at >= 0 && at + 1 < text.length(); at = text.indexOf(ESCAPE, begin)) {
            bytes.writeBytes(text.substring(begin, at).getBytes(StandardCharsets.UTF_8));
            char escaped = text.charAt(at + 1);
            if (escaped == ESCAPE) {
                bytes.writeBytes(String.valueOf(ESCAPE).getBytes(StandardCharsets.UTF_8));
            } else {
                bytes.write(escaped);
            }
            begin = at + 2;
        }
        bytes.writeBytes(text.substring(begin).getBytes(StandardCharsets.UTF_8));
        return bytes.toByteArray();
    }

    private static byte[] decompressed(byte[] body, String encoding, String id) {
        if (!encoding.equals("deflate")) {
            throw new DataException("The body of message " + id + " is compressed as " + encoding
                    + ", which only the relay undoes. Where Debezium sends, compress with ZlibCompressor, or not at all.");
        }
        Inflater inflater = new Inflater();
        inflater.setInput(body);
        ByteArrayOutputStream whole = new ByteArrayOutputStream(4 * body.length);
        byte[] part = new byte[8192];
        try {
            while (!inflater.finished()) {
                int count = inflater.inflate(part);
                if (count == 0 && !inflater.finished()) {
                    throw new DataException("The compressed body of message " + id + " is cut off.");
                }
                whole.write(part, 0, count);
            }
        } catch (DataFormatException error) {
            throw new DataException("The compressed body of message " + id + " is broken.", error);
        } finally {
            inflater.end();
        }
        return whole.toByteArray();
    }

    @Override
    public ConfigDef config() {
        return new ConfigDef();
    }

    @Override
    public void configure(Map<String, ?> settings) {
        // There is nothing to set.
    }

    @Override
    public void close() {
        // There is nothing to close.
    }
}
